// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ScrollMemory } from "../ScrollMemory.js";

/** A scroller of 100 px over cards of 50 px, of which those near to what is seen are in the page. */
class Page {
  readonly scroller = document.body.appendChild(document.createElement("div"));
  count = 10;

  constructor() {
    let top = 0;
    Object.defineProperty(this.scroller, "scrollTop", {
      get: () => top,
      set: (wanted: number) => {
        const before = top;
        top = Math.max(0, Math.min(wanted, this.count * 50 - 100));
        this.draw();
        if (top !== before) {
          this.scroller.dispatchEvent(new Event("scroll"));
        }
      }
    });
    this.scroller.getBoundingClientRect = () => ({ top: 10 }) as DOMRect;
    this.draw();
  }

  draw(): void {
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / 50) - 2);
    const shown = Array.from({ length: 8 }, (_, n) => first + n).filter(n => n < this.count);
    this.scroller.replaceChildren(
      ...shown.map(n => {
        const item = document.createElement("div");
        item.setAttribute("role", "listitem");
        const card = item.appendChild(document.createElement("div"));
        card.dataset.run = `r${n}`;
        card.getBoundingClientRect = () => {
          const top = 10 + n * 50 - this.scroller.scrollTop;
          return { top, bottom: top + 50 } as DOMRect;
        };
        return item;
      })
    );
  }
}

let page: Page;
beforeEach(() => {
  vi.useFakeTimers();
  page = new Page();
});
afterEach(() => {
  vi.useRealTimers();
  page.scroller.remove();
});

describe("the place of a part of the panel", () => {
  it("is the run at the top of what is seen", () => {
    const changed = vi.fn();
    const memory = new ScrollMemory(changed);
    memory.show(page.scroller, "runs");
    page.scroller.scrollTop = 320;
    expect(memory.places).toEqual({ runs: { top: 320, run: "r6", offset: -20 } });
    page.scroller.scrollTop = 0;
    expect(memory.places).toEqual({});
    expect(changed).toHaveBeenCalledTimes(2);
  });

  it("is found again when the list has come as far, also where newer runs came above it", () => {
    const memory = new ScrollMemory(() => undefined);
    memory.places = { runs: { top: 900, run: "r19", offset: -20 } };
    memory.show(page.scroller, "runs");
    vi.advanceTimersByTime(200);
    expect(page.scroller.scrollTop).toBe(400); // the end of what there is, where older pages are asked for
    page.count = 40;
    vi.advanceTimersByTime(1000);
    expect(page.scroller.scrollTop).toBe(19 * 50 + 20);
    expect(memory.places.runs).toMatchObject({ run: "r19" });
  });

  it("is given up when the person scrolls, and after a while", () => {
    const memory = new ScrollMemory(() => undefined);
    memory.places = { runs: { top: 5000 } };
    memory.show(page.scroller, "runs");
    page.scroller.dispatchEvent(new Event("wheel"));
    page.scroller.scrollTop = 50;
    vi.advanceTimersByTime(1000);
    expect(page.scroller.scrollTop).toBe(50);
    memory.places = { runs: { top: 5000 } };
    memory.show(page.scroller, "runs");
    vi.advanceTimersByTime(11_000);
    page.scroller.scrollTop = 100;
    vi.advanceTimersByTime(11_000);
    expect(page.scroller.scrollTop).toBe(100);
  });

  it("is each part's own", () => {
    const memory = new ScrollMemory(() => undefined);
    const away = memory.show(page.scroller, "runs");
    page.scroller.scrollTop = 300;
    away();
    const back = memory.show(page.scroller, "usage");
    expect(page.scroller.scrollTop).toBe(0);
    back();
    memory.show(page.scroller, "runs");
    expect(page.scroller.scrollTop).toBe(300);
  });
});
