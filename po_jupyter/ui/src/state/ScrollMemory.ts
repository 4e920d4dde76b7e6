import type { Scroll } from "./scroll.js";
import { placeOf, scrollTo } from "./scroll.js";

/** Keeps the place of each tab of a panel, and brings it back when the tab is shown again. */
export class ScrollMemory {
  /** `changed` is called when somebody scrolled. */
  constructor(private readonly changed: () => void) {}

  places: Scroll = {};

  /** The element shows `tab` from now on; the returned function ends that. */
  show(scroller: HTMLElement, tab: string): () => void {
    const place = this.places[tab];
    let giveUp: (() => void) | null = null;
    const note = (): void => {
      // On the way back it is not yet where it was.
      if (!giveUp) {
        const { [tab]: _, ...others } = this.places;
        this.places = scroller.scrollTop > 0 ? { ...others, [tab]: placeOf(scroller) } : others;
        this.changed();
      }
    };
    if (place) {
      giveUp = scrollTo(scroller, place, () => (giveUp = null));
    } else {
      scroller.scrollTop = 0;
    }
    scroller.addEventListener("scroll", note, { passive: true });
    return () => {
      scroller.removeEventListener("scroll", note);
      giveUp?.();
    };
  }
}
