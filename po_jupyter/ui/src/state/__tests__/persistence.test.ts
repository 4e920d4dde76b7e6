import { describe, expect, it } from "vitest";
import { NO_FILTERS } from "../filters.js";
import { fromSaved, scrollFromSaved, toSaved } from "../persistence.js";

const NOTHING = { expanded: {}, dismissed: {}, filters: NO_FILTERS, tab: "runs" };

describe("what a reload brings back (R2.8)", () => {
  it("is what was there", () => {
    const state = { expanded: { a: true }, dismissed: { b: 7 }, filters: { ...NO_FILTERS, q: "x" }, tab: "usage" };
    expect(fromSaved(JSON.parse(JSON.stringify(toSaved(state))))).toEqual(state);
  });

  it("takes over what the first version had saved", () => {
    expect(fromSaved({ version: 1, expanded: { a: true } })).toEqual({ ...NOTHING, expanded: { a: true } });
  });

  it.each([undefined, null, 7, "x", [], {}, { version: 99, expanded: { a: true } }, { version: 2, filters: 3, tab: {} }])(
    "is nothing where %j was saved",
    found => expect(fromSaved(found)).toEqual(NOTHING)
  );

  it("drops what is of another type, and fields that are no longer known", () => {
    const found = { version: 2, expanded: { a: "yes", b: true }, filters: { q: "x", state: 3, colour: "red" } };
    expect(fromSaved(found)).toEqual({ ...NOTHING, expanded: { b: true }, filters: { ...NO_FILTERS, q: "x" } });
  });

  it("has the places of the parts, without what is no place", () => {
    const scroll = { runs: { top: 1200, run: "r7", offset: -3.5 }, usage: { top: 40 } };
    const saved: unknown = JSON.parse(JSON.stringify(toSaved({ ...NOTHING }, scroll)));
    expect(scrollFromSaved(saved)).toEqual(scroll);
    expect(fromSaved(saved)).toEqual(NOTHING);
    expect(scrollFromSaved({ version: 2, filters: {} })).toEqual({});
    const wrong = { a: 7, b: { top: "1" }, c: { top: -1 }, d: { top: 1e9 }, e: { top: 5, run: 3, offset: 1 }, f: { top: null } };
    expect(scrollFromSaved({ version: 3, scroll: wrong })).toEqual({ e: { top: 5 } });
    const many = Object.fromEntries(Array.from({ length: 99 }, (_, n) => [`t${n}`, { top: 1 }]));
    expect(Object.keys(scrollFromSaved({ version: 3, scroll: many })).length).toBe(10);
  });

  it("does not grow without end: the newest stay", () => {
    const many = Object.fromEntries(Array.from({ length: 2000 }, (_, n) => [String(n).padStart(5, "0"), true]));
    const kept = Object.keys(toSaved({ ...NOTHING, expanded: many }).expanded as object);
    expect([kept.length, kept.at(-1)]).toEqual([500, "01999"]);
  });
});
