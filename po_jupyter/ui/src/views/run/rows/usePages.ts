/** Pages of rows as a hook: another question is another list, and a run that goes on is asked again. */

import * as React from "react";
import { Pages } from "./pages.js";
import type { Page } from "./pages.js";

/** Milliseconds between two looks at rows that change. */
const PAUSE = 1500;

interface Shown<T> {
  at: (index: number) => T | undefined;
  want: (first: number, last: number) => void;
  refresh: () => void;
  matching: number | null;
  total: number | null;
  problem: unknown;
}

/** The pages, and a number that is another one whenever they changed. */
export function usePages<T>(
  load: (start: number, limit: number, signal: AbortSignal) => Promise<Page<T>>,
  key: string,
  version: number | string
): [Shown<T>, number] {
  const [drawn, draw] = React.useReducer((times: number) => times + 1, 0);
  const latest = React.useRef(load);
  latest.current = load;
  const held = React.useRef<{ key: string; pages: Pages<T> } | null>(null);
  if (held.current?.key !== key) {
    held.current?.pages.dispose();
    const mine = latest.current;
    held.current = { key, pages: new Pages<T>({ load: mine, changed: draw }) };
  }
  const pages = held.current.pages;
  React.useEffect(() => {
    pages.want(0, 0);
    return () => pages.dispose();
  }, [pages]);
  const refreshed = React.useRef(0);
  const seen = React.useRef(version);
  React.useEffect(() => {
    if (seen.current === version) {
      return; // what is asked for in the beginning is of now
    }
    seen.current = version;
    const wait = Math.max(0, PAUSE - (Date.now() - refreshed.current));
    const timer = setTimeout(() => {
      refreshed.current = Date.now();
      pages.refresh();
    }, wait);
    return () => clearTimeout(timer);
  }, [version]);
  const want = React.useCallback((first: number, last: number) => pages.want(first, last), [pages]);
  return [
    {
      at: index => pages.at(index),
      want,
      refresh: () => pages.refresh(),
      matching: pages.matching,
      total: pages.total,
      problem: pages.problem
    },
    drawn
  ];
}
