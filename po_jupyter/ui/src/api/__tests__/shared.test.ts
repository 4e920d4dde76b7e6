import { describe, expect, it } from "vitest";
import { aRun } from "../../state/__tests__/samples.js";
import { needOf } from "../../state/selectors.js";
import { placeOf } from "../../format/run.js";
import { idOf, SharedRuns } from "../shared.js";

describe("shared runs", () => {
  it("are asked for at their own place, and no other run is", () => {
    const shared = new SharedRuns();
    shared.take([aRun("a", { may: ["runs:read"] })]);
    expect(shared.placed("runs/a/cancel")).toBe("shared/runs/a/cancel");
    expect(shared.placed("runs/a?brief=1")).toBe("shared/runs/a?brief=1");
    expect(shared.placed("dead-letters/a/requeue")).toBe("shared/dead-letters/a/requeue");
    expect(shared.placed("runs/ab")).toBe("runs/ab");
    expect(shared.placed("runs")).toBe("runs");
    expect(shared.placed("shared/runs/visible")).toBe("shared/runs/visible");
    expect(idOf("pipelines/a")).toBeNull();
    expect(shared.dressed(aRun("a")).may).toEqual(["runs:read"]);
    expect(shared.dressed(aRun("b")).may).toBeUndefined();
  });

  it("take a run of one's own where there is the service, and once", () => {
    const shared = new SharedRuns();
    expect(shared.mayMove(aRun("a"))).toBe(false);
    shared.isThere = true;
    expect(shared.mayMove(aRun("a"))).toBe(true);
    expect(shared.mayMove(aRun("a", { state: "done" }))).toBe(true);
    expect(shared.mayMove(aRun("a", { state: "moved" }))).toBe(false);
    expect(shared.mayMove(aRun("a", { may: ["runs:write"] }))).toBe(false);
    shared.take([aRun("b", { may: [] })]);
    expect(shared.mayMove(aRun("b"))).toBe(false);
  });

  it("need only those who may do something", () => {
    const gate = { state: "waiting" as const, gate: { task: "t" } };
    expect(needOf(aRun("a", gate))).toBe("gate");
    expect(needOf(aRun("a", { ...gate, may: ["runs:read", "gates"] }))).toBe("gate");
    expect(needOf(aRun("a", { ...gate, may: ["runs:read", "runs:write"] }))).toBeNull();
    expect(needOf(aRun("a", { state: "failed", may: ["runs:read"] }))).toBeNull();
  });

  it("say whose they are and who did what", () => {
    const acts = [
      { act: "started", by: "alice", at: "2026-11-01T00:00:00Z" },
      { act: "cancelled", by: "bob", at: "2026-11-02T00:00:00Z" }
    ];
    expect(placeOf(aRun("a", { owner: "group:red", may: ["runs:read"], acts }))).toBe("shared · red · cancelled by bob");
    expect(placeOf(aRun("a", { owner: "alice", may: ["runs:read"], acts: acts.slice(0, 1) }))).toBe("shared · alice");
    expect(placeOf(aRun("a", { state: "moved", moved: { group: "red" } }))).toBe("now a shared run of red");
    expect(placeOf(aRun("a"))).toBe("");
  });
});
