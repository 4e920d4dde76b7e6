import { describe, expect, it, vi } from "vitest";
import { agreement, changeWord, rowsOf } from "../compare/words.js";
import { FRESH, patched, readPageState } from "../pageState.js";
import { between } from "../rows/between.js";
import { MOST, NOTHING, extended, toggled } from "../rows/selection.js";
import type { ComparedRow, ComparisonSummary, Row } from "../shapes.js";

const row = (index: number, state = "failed"): Row => ({
  index,
  state,
  input: null,
  output: null,
  error: null,
  attempts: 1,
  tokens: 0,
  cost_usd: null,
  seconds: null,
  model: null
});

describe("rows that are selected", () => {
  it("are kept with the state that was seen, and go again", () => {
    const two = toggled(toggled(NOTHING, row(3)), row(17, "done"));
    expect([...two]).toEqual([[3, "failed"], [17, "done"]]);
    expect([...toggled(two, row(3))]).toEqual([[17, "done"]]);
    expect(NOTHING.size).toBe(0);
  });

  it("are never more than the server takes", () => {
    const many = extended(NOTHING, Array.from({ length: MOST + 5 }, (_, index) => row(index)));
    expect(many.size).toBe(MOST);
    expect(toggled(many, row(MOST + 1)).size).toBe(MOST);
    expect(toggled(many, row(0)).size).toBe(MOST - 1);
  });

  it("of a range that is not loaded are asked for", async () => {
    const load = vi.fn(async (start: number) => ({
      rows: Array.from({ length: 5 }, (_, index) => row(start + index)),
      total: 99,
      matching: 99,
      next: null,
      complete: true
    }));
    const loaded = (place: number) => (place < 3 ? row(place) : undefined);
    expect((await between(1, 9, loaded, load)).map(one => one.index)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(load.mock.calls).toEqual([[3], [8]]);
  });
});

describe("a comparison", () => {
  const side = { run: "r", rows: 100, done: 100, failed: 0, tokens: 0, cost_usd: 0, seconds: 0, models: [] };
  const summary: ComparisonSummary = {
    changed: 7, only_a: 0, only_b: 2, failed: 0, open: 0, same: 93, agreement: 0.93, by_index: 0, a: side, b: side
  };
  const trans = { __: (text: string, ...values: unknown[]) => text.replace(/%(\d)/g, (_, n) => String(values[Number(n) - 1])) };

  it("is said in one line", () => {
    expect(agreement(summary, trans)).toBe("93 of 100 answers agree (93 %) · 7 changed · 2 only in B");
    expect(agreement({ ...summary, same: 0, changed: 0, agreement: null }, trans)).toContain("No answers to compare yet");
  });

  it("never rounds a change away", () => {
    expect(agreement({ ...summary, same: 9999, changed: 1, agreement: 0.9999 }, trans)).toContain("(99 %)");
  });

  it("says where a row stands in each run", () => {
    const pair = (a: Row | null, b: Row | null): ComparedRow => ({ change: "same", by_input: true, a, b });
    expect([rowsOf(pair(row(5), row(5))), rowsOf(pair(row(5), row(94))), rowsOf(pair(null, row(2)))]).toEqual(["5", "5 → 94", "2"]);
    expect([changeWord("only_b"), changeWord("changed")]).toEqual(["only in B", "changed"]);
  });

  it("is a tab that a reload keeps, as long as there is a run to compare with", () => {
    const open = patched(FRESH, { tab: "compare", compare: { run: "other", all: true, open: 4 } });
    const read = readPageState(JSON.parse(JSON.stringify(open)));
    expect([read.tab, read.compare]).toEqual(["compare", { run: "other", all: true, open: null }]);
    expect(readPageState({ tab: "compare" }).tab).toBe("tasks");
  });
});
