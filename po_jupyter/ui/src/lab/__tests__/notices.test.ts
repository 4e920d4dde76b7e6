import { nullTranslator } from "@jupyterlab/translation";
import { describe, expect, it } from "vitest";
import type { Run } from "../../api/types.js";
import { aRun } from "../../state/__tests__/samples.js";
import { RunChanges } from "../notices.js";
import { counts, summary } from "../summary.js";

const news = (changes: RunChanges, run: Run) => changes.see({ type: "run", run }).map(notice => notice.kind);
const watching = (...runs: Run[]) => {
  const changes = new RunChanges();
  expect(changes.see({ type: "snapshot", runs })).toEqual([]);
  return changes;
};
const gate = (task: string): Partial<Run> => ({ state: "waiting", gate: { task, message: "Look" } });

describe("notices", () => {
  it("tell of an end once, and of nothing that stood there before", () => {
    const changes = watching(aRun("a", { state: "running" }), aRun("b", { state: "failed" }));
    expect(news(changes, aRun("a", { state: "running" }))).toEqual([]);
    expect(news(changes, aRun("a", { state: "done" }))).toEqual(["end"]);
    expect(news(changes, aRun("a", { state: "done" }))).toEqual([]);
    expect(news(changes, aRun("b", { state: "failed" }))).toEqual([]);
  });

  it("tell of failures, of each gate, and of a full disk", () => {
    const changes = watching(aRun("a", { state: "running" }));
    expect(news(changes, aRun("a", gate("draft")))).toEqual(["gate"]);
    expect(news(changes, aRun("a", gate("draft")))).toEqual([]);
    expect(news(changes, aRun("a", { state: "running" }))).toEqual([]);
    expect(news(changes, aRun("a", gate("send")))).toEqual(["gate"]);
    expect(news(changes, aRun("a", { state: "dead" }))).toEqual(["failure"]);
    expect(news(changes, aRun("c", { state: "running", waiting: "the disk is full" }))).toEqual(["disk"]);
  });

  it("tell of what a person did not do: a cancelled run is no news", () => {
    const changes = watching(aRun("a", { state: "running" }));
    expect(news(changes, aRun("a", { state: "cancelled" }))).toEqual([]);
    expect(news(changes, aRun("a", { state: "running" }))).toEqual([]);
    expect(news(changes, aRun("a", { state: "failed" }))).toEqual(["failure"]);
  });

  it("tell what happened while the tab was hidden, by the next snapshot", () => {
    const changes = watching(aRun("a", { state: "running" }));
    const runs = [aRun("a", { state: "done" }), aRun("new", { state: "failed" }), aRun("on", { state: "running" })];
    expect(changes.see({ type: "snapshot", runs }).map(({ kind, run }) => [kind, run.id])).toEqual([
      ["end", "a"],
      ["failure", "new"]
    ]);
  });
});

describe("the status bar", () => {
  const trans = nullTranslator.load("po_jupyter");
  it("says what runs, what waits and what today cost", () => {
    const runs = [aRun("a", { state: "running" }), aRun("b", { state: "pending" }), aRun("c", gate("x")), aRun("d", { state: "done" })];
    expect(counts(runs)).toEqual({ running: 2, waiting: 1 });
    expect(summary(counts(runs), { used: 1.2, limit: null }, trans)).toBe("2 running · 1 waits · $1.20 today");
    expect(summary({ running: 0, waiting: 2 }, null, trans)).toBe("2 wait");
    expect(summary({ running: 0, waiting: 0 }, { used: 0, limit: null }, trans)).toBe("No runs");
    expect(summary({ running: 1, waiting: 0 }, { used: 0.4, limit: 2 }, trans)).toBe("1 running · $0.400 of $2.00 today");
  });
});
