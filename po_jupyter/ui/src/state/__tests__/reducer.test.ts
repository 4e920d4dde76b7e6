import { describe, expect, it } from "vitest";
import { NO_FILTERS } from "../filters.js";
import type { Action, State } from "../reducer.js";
import { EMPTY, reduce } from "../reducer.js";
import { aRun, aTask } from "./samples.js";

const after = (...actions: Action[]): State => actions.reduce(reduce, EMPTY);

describe("what the panel knows", () => {
  it("opens a live run by itself, and keeps what the person opened or closed (R2.8)", () => {
    const saved = { expanded: { a: false, b: true }, dismissed: {}, filters: NO_FILTERS, tab: "runs" };
    const runs = [aRun("a", { state: "done", created_at: "2026-11-22T12:00:02Z" }), aRun("b", { state: "done" }), aRun("c")];
    const state = after({ type: "restore", saved }, { type: "snapshot", runs });
    expect(state.order).toEqual(["a", "c", "b"]);
    expect(state.expanded).toEqual({ a: false, b: true, c: true });
  });

  it("forgets a run that a snapshot should have and has not, and keeps older ones (P1)", () => {
    const old = aRun("old", { created_at: "2026-11-20T12:00:00Z" });
    const [first, second, third] = ["01", "02", "03"].map(s => aRun(s, { created_at: `2026-11-22T12:00:${s}Z` }));
    const state = after(
      { type: "snapshot", runs: [first!, second!, third!] },
      { type: "found", runs: [old] },
      { type: "snapshot", runs: [first!, third!] }
    );
    expect(state.order).toEqual(["03", "01", "old"]);
  });

  it("is not undone by an answer that the stream overtook (P1)", () => {
    const [newer, older] = [aRun("a", { state: "cancelled", last_event: 9 }), aRun("a", { last_event: 8 })];
    const state = after({ type: "snapshot", runs: [newer] }, { type: "run", run: older }, { type: "found", runs: [older] });
    expect(state.runs.get("a")!.state).toBe("cancelled");
  });

  it("is where it has moved to, whose events have smaller numbers (P1)", () => {
    const moved = aRun("a", { state: "moved", last_event: 9 });
    const there = aRun("a", { state: "waiting", last_event: 8, may: ["gates"] });
    for (const runs of [[moved, there], [there, moved]]) {
      const state = after({ type: "snapshot", runs: [runs[0]!] }, { type: "run", run: runs[1]! });
      expect(state.runs.get("a")!.state).toBe("waiting");
    }
  });

  it("shows the tail of the task that speaks, of one round at a time (G11)", () => {
    const start: Action = { type: "snapshot", runs: [aRun("a", { tasks: [aTask("t", { state: "running" })] })] };
    const say = (text: string, round = 1): Action => ({ type: "text", text: { run: "a", task: "t", text, round } });
    expect(after(start, say("x".repeat(700)), say("end")).speech.a!.text).toBe("x".repeat(597) + "end");
    expect(after(start, say("first"), say("second", 2)).speech.a!.text).toBe("second");
    const ended = aRun("a", { state: "done", tasks: [aTask("t", { state: "done" })], last_event: 2 });
    expect(after(start, say("x"), { type: "run", run: ended }).speech).toEqual({});
  });

  it("keeps nothing of a deleted run (R2.8)", () => {
    const state = after(
      { type: "snapshot", runs: [aRun("a")] },
      { type: "dismiss", id: "a" },
      { type: "answered", id: "a", problem: { code: "conflict", message: "no" } },
      { type: "gone", id: "a" }
    );
    const { runs, order, expanded, dismissed, problems, busy, speech } = state;
    expect(runs.size).toBe(0);
    expect([order, expanded, dismissed, problems, busy, speech]).toEqual([[], {}, {}, {}, {}, {}]);
  });

  it("drops a page of filters that were changed while it was on its way", () => {
    const filters = { ...NO_FILTERS, q: "x" };
    const asked = after({ type: "filter", filters }, { type: "reading" });
    const late: Action = { type: "page", filters: NO_FILTERS, runs: [aRun("a")], next: null };
    expect(reduce(asked, late)).toBe(asked);
    expect(reduce(asked, { ...late, filters }).order).toEqual(["a"]);
  });

  it("changes one of 10,000 runs and copies none of the others", () => {
    const runs = Array.from({ length: 10_000 }, (_, n) =>
      aRun(`r${n}`, { created_at: new Date(Date.UTC(2026, 0, 1) + n * 1000).toISOString() })
    );
    const full = after({ type: "page", filters: NO_FILTERS, runs, next: null });
    const state = reduce(full, { type: "run", run: aRun("r5000", { last_event: 2, created_at: full.runs.get("r5000")!.created_at }) });
    expect(state.order).toHaveLength(10_000);
    expect(state.runs.get("r5000")!.last_event).toBe(2);
    expect(state.runs.get("r4999")).toBe(full.runs.get("r4999"));
  });
});
