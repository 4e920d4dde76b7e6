/** Where each part of the panel is scrolled to, and the way back there. */

/** A place in a list that may have grown since: the run at the top of what is seen, and how far above its edge it is. */
export interface ScrollPlace {
  readonly top: number;
  readonly run?: string;
  readonly offset?: number;
}

/** The place of each tab that is not at its top. */
export type Scroll = Readonly<Record<string, ScrollPlace>>;

/** Milliseconds between two tries, and until the last one: pages of the list come meanwhile. */
const STEP = 50;
const PATIENCE = 10_000;
/** Tries in a row that change nothing: what is above, drafts of gates too, has come and been measured by then. */
const STILL = 40;
const HANDS = ["wheel", "pointerdown", "touchstart", "keydown"] as const;

/** Where `scroller` is. */
export function placeOf(scroller: HTMLElement): ScrollPlace {
  const edge = scroller.getBoundingClientRect().top;
  for (const card of cards(scroller)) {
    const { top, bottom } = card.getBoundingClientRect();
    if (bottom > edge) {
      return { top: scroller.scrollTop, run: card.dataset.run!, offset: top - edge };
    }
  }
  return { top: scroller.scrollTop };
}

/**
 * Scroll to a place as the list grows towards it, until it is there or the person scrolls. The returned function gives
 * up.
 */
export function scrollTo(scroller: HTMLElement, place: ScrollPlace, ended: () => void): () => void {
  let still = 0;
  const deadline = Date.now() + PATIENCE;
  const stop = (): void => {
    clearInterval(timer);
    HANDS.forEach(kind => scroller.removeEventListener(kind, stop));
    ended();
  };
  const step = (): void => {
    const moved = approach(scroller, place);
    still = moved === 0 ? still + 1 : 0;
    if (still >= STILL || Date.now() > deadline) {
      stop();
    }
  };
  const timer = setInterval(step, STEP);
  HANDS.forEach(kind => scroller.addEventListener(kind, stop, { passive: true }));
  step();
  return stop;
}

/** The runs of the list that are in the page, from the top down. */
function cards(scroller: HTMLElement): HTMLElement[] {
  return [...scroller.querySelectorAll<HTMLElement>("[role=listitem] [data-run]")];
}

/** One step there; 0 when it is there, null while it cannot be reached yet. */
function approach(scroller: HTMLElement, { top, run, offset = 0 }: ScrollPlace): number | null {
  const before = scroller.scrollTop;
  const card = run === undefined ? undefined : cards(scroller).find(each => each.dataset.run === run);
  if (card) {
    const edge = scroller.getBoundingClientRect().top;
    scroller.scrollTop += Math.round(card.getBoundingClientRect().top - edge - offset);
  } else {
    scroller.scrollTop = top;
  }
  const moved = Math.abs(scroller.scrollTop - before);
  const isThere = !!card || scroller.scrollTop >= top - 1;
  return isThere && moved < 2 ? 0 : null;
}
