/** Which rows of a long table are drawn: those in sight and some around them, always as many, so that their elements
 *  are used again. All rows are of one height: nothing is measured while one scrolls. */

import * as React from "react";

/** Height of a row, and of the head that stays above them (px). */
export const HEIGHT = 28;
/** Rows that are drawn above and below those in sight. */
const AROUND = 8;
/** Rows that pass by before others are drawn. */
const STEP = 4;

export interface Window {
  first: number;
  /** How many are drawn, from `first` on. */
  length: number;
}

/** Of `count` rows those to draw where row `above` is the first in a view that is `height` px high. Pure. */
export function windowOf(above: number, height: number, count: number): Window {
  const length = Math.min(count, Math.ceil(height / HEIGHT) + 2 * AROUND + STEP);
  const first = Math.floor(above / STEP) * STEP - AROUND;
  return { first: Math.max(0, Math.min(first, count - length)), length };
}

/** How far a view has to be scrolled for row `index` to be wholly in it: below the head, above its end. Pure. */
export function offsetFor(index: number, offset: number, height: number): number {
  const start = index * HEIGHT;
  return Math.min(start, Math.max(offset, start + 2 * HEIGHT - height));
}

interface Drawn extends Window {
  /** The first row in sight. */
  above: number;
  show: (index: number) => void;
}

/** The window of the element `box`, which scrolls; row `top` is the first in the beginning. */
export function useWindow(box: React.RefObject<HTMLElement>, count: number, top: number): Drawn {
  const [view, setView] = React.useState({ above: top, height: 0 });
  React.useLayoutEffect(() => {
    const element = box.current!;
    const look = (): void => {
      const above = Math.floor(element.scrollTop / HEIGHT);
      setView(before => (before.above === above ? before : { ...before, above }));
    };
    const observer = new ResizeObserver(() => {
      const height = element.clientHeight;
      setView(before => (before.height === height ? before : { ...before, height }));
    });
    element.addEventListener("scroll", look, { passive: true });
    observer.observe(element);
    return () => {
      element.removeEventListener("scroll", look);
      observer.disconnect();
    };
  }, [box]);
  // There is nothing to scroll before the first page is here.
  const wanted = React.useRef(top);
  React.useLayoutEffect(() => {
    if (count && wanted.current) {
      box.current!.scrollTop = wanted.current * HEIGHT;
      wanted.current = 0;
    }
  }, [box, count]);
  const show = React.useCallback(
    (index: number) => {
      const element = box.current!;
      element.scrollTop = offsetFor(index, element.scrollTop, element.clientHeight);
    },
    [box]
  );
  return { ...windowOf(view.above, view.height, count), above: view.above, show };
}
