import { describe, expect, it } from "vitest";
import type { Run } from "../../api/types.js";
import { asQuery, matches, NO_FILTERS } from "../filters.js";
import type { Action, State } from "../reducer.js";
import { EMPTY, reduce } from "../reducer.js";
import { needOf, sections } from "../selectors.js";
import { aRun } from "./samples.js";

const all = (runs: Run[], ...more: Action[]): State =>
  [{ type: "page", filters: NO_FILTERS, runs, next: null } as Action, ...more].reduce(reduce, EMPTY);
const ids = (runs: Run[]): string[] => runs.map(run => run.id);
const gate = { task: "t", message: "ok?" };

describe("what needs a person", () => {
  it("is an open gate, a full disk, a dead or a failed run", () => {
    expect(needOf(aRun("a", { state: "waiting", gate }))).toBe("gate");
    expect(needOf(aRun("a", { state: "waiting", gate: { ...gate, decision: "approve" } }))).toBeNull();
    expect(needOf(aRun("a", { waiting: "the disk is full" }))).toBe("disk");
    expect(needOf(aRun("a", { state: "dead" }))).toBe("dead");
    expect(needOf(aRun("a", { state: "failed" }))).toBe("failed");
    expect(needOf(aRun("a", { state: "done", waiting: "no longer" }))).toBeNull();
  });

  it("stands on top whatever its age, gates first, and nowhere else", () => {
    const runs = [
      aRun("new", { state: "done", created_at: "2026-11-22T12:00:05Z" }),
      aRun("failed", { state: "failed", created_at: "2026-11-22T12:00:04Z" }),
      aRun("goes on", { created_at: "2026-11-22T12:00:03Z" }),
      aRun("gate", { state: "waiting", gate, created_at: "2026-01-01T12:00:00Z" })
    ];
    const { attention, active, list } = sections(all(runs));
    expect(ids(attention)).toEqual(["gate", "failed"]);
    expect(ids(active)).toEqual(["goes on"]);
    expect(ids(list.map(entry => entry.run))).toEqual(["new"]);
  });

  it("can be put aside until something happens to it again, but a gate cannot", () => {
    const failed = aRun("a", { state: "failed", last_event: 5 });
    const waits = aRun("b", { state: "waiting", gate });
    const aside = all([failed, waits], { type: "dismiss", id: "a" }, { type: "dismiss", id: "b" });
    expect(ids(sections(aside).attention)).toEqual(["b"]);
    expect(sections(aside).list.map(entry => entry.run.id)).toEqual(["a"]);
    const again = reduce(aside, { type: "run", run: { ...failed, last_event: 9 } });
    expect(ids(sections(again).attention)).toEqual(["b", "a"]);
  });
});

describe("the history", () => {
  it("names a day once", () => {
    const at = (id: string, created_at: string): Run => aRun(id, { state: "done", created_at });
    const { list } = sections(all([at("c", "2026-11-22T12:01:00"), at("b", "2026-11-22T12:00:00"), at("a", "2026-11-20T12:00:00")]));
    expect(list.map(entry => entry.day)).toEqual(["2026-11-22", null, "2026-11-20"]);
  });

  it("does not show what lies beyond the pages that were read: there may be gaps", () => {
    const done = (id: string, day: number): Run => aRun(id, { state: "done", created_at: `2026-11-${day}T12:00:00Z` });
    const page: Action = { type: "page", filters: NO_FILTERS, runs: [done("c", 22), done("b", 21)], next: "cursor" };
    const state = [page, { type: "found", runs: [done("a", 11)] } as Action].reduce(reduce, EMPTY);
    expect(sections(state).list.map(entry => entry.run.id)).toEqual(["c", "b"]);
    const last = reduce(state, { type: "page", filters: NO_FILTERS, runs: [done("a", 11)], next: null });
    expect(sections(last).list.map(entry => entry.run.id)).toEqual(["c", "b", "a"]);
  });

  it("with filters has all that they let through, also what goes on; what needs a person stays on top", () => {
    const runs = [aRun("a", { name: "Big one" }), aRun("b", { state: "failed", name: "big two" }), aRun("c")];
    const filters = { ...NO_FILTERS, q: "BIG" };
    const state = all(runs, { type: "filter", filters }, { type: "page", filters, runs: [], next: null });
    const { attention, active, list } = sections(state);
    expect([ids(attention), ids(active), list.map(entry => entry.run.id).sort()]).toEqual([["b"], [], ["a", "b"]]);
  });
});

describe("filters", () => {
  it("let through by every field", () => {
    const run = aRun("01ab", { state: "done", pipeline: "mails", created_at: "2026-11-22T12:00:00" });
    const lets = (part: Partial<typeof NO_FILTERS>): boolean => matches(run, { ...NO_FILTERS, ...part });
    expect([lets({}), lets({ q: " 1AB " }), lets({ q: "mail" }), lets({ q: "none" })]).toEqual([true, true, true, false]);
    expect([lets({ state: "done" }), lets({ state: "dead" })]).toEqual([true, false]);
    expect([lets({ pipeline: "mails" }), lets({ pipeline: "mail" })]).toEqual([true, false]);
    expect([lets({ since: "2026-11-22", until: "2026-11-22" }), lets({ since: "2026-11-23" }), lets({ until: "2026-11-21" })]).toEqual([
      true, false, false
    ]);
  });

  it("are asked of the server as moments: a day ends where the next begins, here", () => {
    const query = asQuery({ ...NO_FILTERS, q: " a ", since: "2026-11-22", until: "2026-11-22" });
    expect(query.q).toBe("a");
    expect(Date.parse(query.until!) - Date.parse(query.since!)).toBe(86_400_000);
    expect(asQuery(NO_FILTERS)).toEqual({});
  });
});
