import { describe, expect, it } from "vitest";
import type { Run } from "../../api/types.js";
import golden from "../../../../../tests/data/presentation.json" with { type: "json" };
import { bytes, costSum, money, tokens } from "../money.js";
import * as format from "../run.js";
import { duration, elapsed, localDay, timestamp } from "../time.js";

/** Made from `po_jupyter.presentation.format` by `python -m tests.presentation.golden`. */
describe("the same numbers and words as the cell and the terminal", () => {
  it.each(golden.money as [number | null, string][])("money(%s) is %s", (usd, text) => {
    expect(money(usd)).toBe(text);
  });
  it.each(golden.cost_sum as [[number | null, number, number], string][])("costSum(%s) is %s", (sum, text) => {
    expect(costSum(...sum)).toBe(text);
  });
  it.each(golden.tokens as [number, string][])("tokens(%s) is %s", (count, text) => {
    expect(tokens(count)).toBe(text);
  });
  it.each(golden.duration as [number, string][])("duration(%s) is %s", (seconds, text) => {
    expect(duration(seconds)).toBe(text);
  });
  it.each(golden.elapsed as [number, string][])("elapsed(%s) is %s", (seconds, text) => {
    expect(elapsed(seconds)).toBe(text);
  });
  it.each(golden.percent as [number, string][])("percent(%s) is %s", (fraction, text) => {
    expect(format.percent(fraction)).toBe(text);
  });
  it("signs of all states", () => {
    for (const [state, icon] of Object.entries(golden.icons)) {
      expect(format.stateIcon(state), state).toBe(icon);
    }
  });
  it.each(golden.runs.map((each, index) => [each.run.state, index, each] as const))("a %s run (case %i)", (_, __, each) => {
    const run = each.run as unknown as Run;
    expect(format.shownRunState(run)).toBe(each.shown_state);
    expect(format.headline(run, golden.now)).toEqual(each.headline);
    expect(format.problems(run)).toEqual(each.problems);
    const tasks = run.tasks.map(task => ({
      shown_state: format.shownTaskState(task),
      ...format.taskLine(task, golden.now)
    }));
    expect(tasks).toEqual(each.tasks);
  });
});

describe("what only the panel says", () => {
  const run = (more: Partial<Run>): Run => ({ ...(golden.runs[0]!.run as unknown as Run), ...more });

  it("asks for the larger budget in the unit that ran out", () => {
    const usage = { ...run({}).usage, input_tokens: 990, output_tokens: 0, cost: 0.5 };
    expect(format.tightBudget(run({ usage, budget: { usd: 2, tokens: 1000 } }))).toEqual({ unit: "tokens", suggested: 2000 });
    const dear = { ...usage, input_tokens: 10, cost: 1.99 };
    expect(format.tightBudget(run({ usage: dear, budget: { usd: 2, tokens: 1000 } }))).toEqual({ unit: "usd", suggested: 4 });
    expect(format.tightBudget(run({ usage: { ...dear, cost: null }, budget: {} })).suggested).toBe(1);
  });

  it("moves the bar with each row of a map, not only at its end", () => {
    const { tasks } = run({});
    expect(format.runProgress(run({}))).toBeCloseTo((1 + 0.412) / 3);
    expect(format.runProgress(run({ tasks: [] }))).toBe(0);
    expect(format.failedRows(run({ tasks }))).toBe(3);
  });

  it("says sizes and days", () => {
    expect([0, 812, 999, 1000, 1_450_000, 250_000_000].map(bytes)).toEqual([
      "0 B", "812 B", "999 B", "1.0 kB", "1.4 MB", "250 MB"
    ]);
    expect(timestamp("2026-11-22T12:00:00")).toBe(timestamp("2026-11-22T13:00:00+01:00"));
    expect(localDay("2026-11-22T12:00:00")).toMatch(/^2026-11-2[123]$/);
  });
});
