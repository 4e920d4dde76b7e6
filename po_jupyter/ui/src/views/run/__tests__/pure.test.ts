import { describe, expect, it } from "vitest";
import type { Run, Task } from "../../../api/types.js";
import { linkTo, PATTERN, readAddress, withoutAddress } from "../address.js";
import { eta, etaText } from "../eta.js";
import { forkBody } from "../forkBody.js";
import { linesOf, seriesOf } from "../money/series.js";
import { FRESH, patched, readPageState } from "../pageState.js";
import { csvHead, csvHeader, csvLine } from "../rows/csv.js";
import { exportRows } from "../rows/exportRows.js";
import type { RunSource } from "../source.js";
import type { Row, Span } from "../shapes.js";
import { timeline } from "../tasks/bars.js";
import { layout, NODE } from "../tasks/layout.js";
import { after } from "../useRun.js";

describe("the graph", () => {
  it("puts what waits behind what it waits for, without overlaps", () => {
    const { places } = layout(["a", "b", "c", "d"], { b: ["a"], c: ["a"], d: ["b", "c"] });
    const at = Object.fromEntries(places.map(place => [place.name, place]));
    expect(at.a!.x + NODE.width).toBeLessThan(at.b!.x);
    expect(at.b!.x).toBe(at.c!.x);
    expect(Math.abs(at.b!.y - at.c!.y)).toBeGreaterThanOrEqual(NODE.height);
    expect(at.d!.x).toBeGreaterThan(at.c!.x);
  });

  it("goes from top to bottom where it is narrow", () => {
    const { places } = layout(["a", "b"], { b: ["a"] }, true);
    expect(places[1]!.y).toBeGreaterThan(places[0]!.y + NODE.height - 1);
    expect(places[1]!.x).toBe(places[0]!.x);
  });

  it("leaves out edges that others imply, and needs that are not there", () => {
    const { edges } = layout(["a", "b", "c"], { b: ["a", "gone"], c: ["a", "b", "c"] });
    expect(edges).toEqual([{ from: "a", to: "b" }, { from: "b", to: "c" }]);
  });

  it("draws tasks that know nothing of each other, and none at all", () => {
    expect(layout(["a", "b"], {}).edges).toEqual([]);
    expect(layout([], {}).places).toEqual([]);
  });

  it("lays out 300 tasks in a chain with every need named in little time", () => {
    const names = Array.from({ length: 300 }, (_, index) => `t${index}`);
    const needs = Object.fromEntries(names.map((name, index) => [name, names.slice(Math.max(0, index - 5), index)]));
    const begin = performance.now();
    expect(layout(names, needs).edges).toHaveLength(299);
    expect(performance.now() - begin).toBeLessThan(5000);
  });
});

describe("the timeline", () => {
  const span = (task: string, from: number, to: number | null, more: Partial<Span> = {}): Span => ({
    task,
    stage: "inference",
    attempt: 1,
    state: "done",
    wait: 0,
    reason: null,
    started_at: new Date(from * 1000).toISOString(),
    ended_at: to === null ? null : new Date(to * 1000).toISOString(),
    ...more
  });

  it("has all on one scale, and a lane for each task", () => {
    const { lanes, seconds } = timeline(["a", "b", "idle"], [span("a", 100, 150), span("b", 150, 200)], 0);
    expect(seconds).toBe(100);
    expect(lanes.map(lane => lane.bars.length)).toEqual([1, 1, 0]);
    expect(lanes[0]!.bars[0]).toMatchObject({ left: 0, width: 50, seconds: 50 });
    expect(lanes[1]!.bars[0]).toMatchObject({ left: 50, width: 50 });
  });

  it("ends what goes on now, and knows a wait", () => {
    const { lanes } = timeline(["a"], [span("a", 100, 110), span("a", 110, null, { wait: 5, state: "running" })], 120_000);
    expect(lanes[0]!.bars[1]).toMatchObject({ left: 50, width: 50, waited: 0.5 });
  });

  it("shows a bar that took no time, inside of the lane", () => {
    const { lanes } = timeline(["a"], [span("a", 0, 100), span("a", 100, 100)], 0);
    const last = lanes[0]!.bars[1]!;
    expect(last.width).toBeGreaterThan(0);
    expect(last.left + last.width).toBeLessThanOrEqual(100);
  });

  it("has at most seven ticks, however long the run was", () => {
    for (const length of [0.5, 7, 61, 3700, 90_000, 3_000_000]) {
      expect(timeline(["a"], [span("a", 0, length)], 0).ticks.length).toBeLessThanOrEqual(7);
    }
    expect(timeline(["a"], [], 0)).toEqual({ lanes: [{ task: "a", bars: [] }], seconds: 0, ticks: [] });
  });
});

describe("the time that is left", () => {
  const started = "2026-01-01T00:00:00Z";
  const run = (items: Partial<NonNullable<Task["items"]>>, state: Task["state"] = "running"): Run =>
    ({
      state: "running",
      tasks: [{ name: "label", state, started_at: started, items: { total: 1000, done: 0, failed: 0, in_flight: 0, ...items } }]
    }) as unknown as Run;
  const later = (seconds: number): number => Date.parse(started) / 1000 + seconds;

  it("is the pace so far, wider the fewer rows there are", () => {
    const few = eta(run({ done: 25 }), later(25))!;
    const many = eta(run({ done: 400 }), later(400))!;
    expect(few.low).toBeLessThan(975);
    expect(few.high).toBeGreaterThan(975);
    expect(many.high / many.low).toBeLessThan(few.high / few.low);
  });

  it("does not count rows that were reused, and says nothing of too few", () => {
    expect(eta(run({ done: 500, reused: 499 }), later(10))).toBeNull();
    expect(eta(run({ done: 1000 }), later(10))).toBeNull();
    expect(eta(run({ done: 500 }, "done"), later(10))).toBeNull();
    expect(eta({ ...run({ done: 500 }), state: "cancelled" }, later(10))).toBeNull();
  });

  it("is said in few words", () => {
    expect(etaText({ low: 5, high: 20 })).toBe("under a minute");
    expect(etaText({ low: 170, high: 190 })).toBe("about 3 min");
    expect(etaText({ low: 180, high: 300 })).toBe("3 to 5 min");
    expect(etaText({ low: 7200, high: 14_400 })).toBe("2 to 4 h");
    expect(etaText({ low: 172_800, high: 432_000 })).toBe("2 to 5 days");
  });
});

describe("the address", () => {
  it("is read, and taken out of the URL", () => {
    const search = "?reset&po-run=abc-123&po-tab=rows&po-task=label&po-row=17";
    expect(PATTERN.test("/lab" + search)).toBe(true);
    expect(readAddress(search)).toEqual({ run: "abc-123", tab: "rows", task: "label", row: 17 });
    expect(withoutAddress("/lab/tree/x.ipynb?po-run=abc&po-tab=rows#part")).toBe("/lab/tree/x.ipynb#part");
    expect(withoutAddress("/lab?a=1&po-run=abc")).toBe("/lab?a=1");
  });

  it("refuses what is no address", () => {
    expect(readAddress("")).toBeNull();
    expect(readAddress("?po-run=../../etc")).toBeNull();
    expect(readAddress("?po-run=abc&po-tab=nothing&po-row=x")).toEqual({ run: "abc" });
  });

  it("is the same after a way through a link", () => {
    const link = linkTo("https://hub/user/ada/", { run: "r1", tab: "calls", task: "a b&c", row: 3 });
    expect(link).toMatch(/^https:\/\/hub\/user\/ada\/lab\?/);
    expect(readAddress(new URL(link).search)).toEqual({ run: "r1", tab: "calls", task: "a b&c", row: 3 });
  });
});

describe("the state of a page", () => {
  it("is the same after it was saved", () => {
    const state = patched(FRESH, { tab: "rows", task: "label", rows: { sort: "cost_usd", desc: true, q: "x", top: 70_000, open: 3 } });
    expect(readPageState(JSON.parse(JSON.stringify(state)))).toEqual(state);
  });

  it("is fresh where nothing can be understood", () => {
    for (const saved of [null, undefined, 3, "x", [], { tab: 3, rows: { sort: "; drop", top: -1, state: "all" } }]) {
      expect(readPageState(saved)).toEqual(FRESH);
    }
  });
});

describe("rows as CSV", () => {
  const row = (more: Partial<Row>): Row => ({
    index: 0,
    state: "done",
    input: "in",
    output: null,
    error: null,
    attempts: 1,
    tokens: 3,
    cost_usd: 0.5,
    seconds: 1.5,
    model: "m",
    ...more
  });

  it("has a column for each field of the answers", () => {
    const rows = [row({ output: { label: "bug", sure: 0.5 } }), row({ index: 1, state: "failed", error: { code: "x", message: "no, \"it\" failed" } })];
    const header = csvHeader(rows);
    expect(header).toEqual(["index", "state", "input", "output.label", "output.sure", "error", "attempts", "tokens", "cost_usd", "seconds", "model"]);
    expect(csvLine(rows[0]!, header)).toBe("0,done,in,bug,0.5,,1,3,0.5,1.5,m\r\n");
    expect(csvLine(rows[1]!, header)).toBe('1,failed,in,,,"no, ""it"" failed",1,3,0.5,1.5,m\r\n');
  });

  it("gives no formula to a spreadsheet, and keeps numbers", () => {
    const header = csvHeader([row({ output: "x" })]);
    expect(csvLine(row({ output: '=HYPERLINK("http://x")' }), header)).toContain(`"'=HYPERLINK(""http://x"")"`);
    expect(csvLine(row({ output: "-5" }), header)).toContain(",-5,");
    expect(csvLine(row({ output: "-5+cmd" }), header)).toContain(",'-5+cmd,");
    expect(csvLine(row({ input: ["a", 1], output: "a\nb" }), header)).toContain('"[""a"",1]","a\nb"');
    expect(csvLine(row({ output: "\n=1+cmd" }), header)).toContain(`"'\n=1+cmd"`);
    expect(csvLine(row({ output: "\0=1+cmd" }), header)).toContain("'\0=1+cmd");
  });

  it("has a column for the variant and one for each score where rows have them", () => {
    const rows = [row({ output: "x", variant: "short", scores: { values: { exact: 0, f1: null } } }), row({ variant: "long", output: "y" })];
    const header = csvHeader(rows);
    expect(header.slice(0, 7)).toEqual(["index", "variant", "state", "input", "output", "score.exact", "score.f1"]);
    expect(rows.map(each => csvLine(each, header).split(",").slice(1, 7).join())).toEqual(["short,done,in,x,0,", "long,done,in,y,,"]);
  });

  it("writes names of fields as the texts of a model that they are", () => {
    const header = csvHeader([row({ output: { 'a,"b"\n=1+cmd': 1 } })]);
    expect(csvHead(header)).toContain('input,"output.a,""b""\n=1+cmd",error');
    expect(csvHead(["=1+cmd", "x"])).toBe("'=1+cmd,x\r\n");
  });

  it("is one file in which a field's name begins no column of its own", async () => {
    const page = { rows: [row({ output: { "x\n=1+cmd": 1 } })], next: null, complete: true };
    const source = { rows: async () => page } as unknown as RunSource;
    const query = { task: "t", state: "", variant: "", q: "", sort: "index", desc: false } as const;
    const text = await (await exportRows(source, query, () => undefined)).text();
    expect(text).toContain('input,"output.x\n=1+cmd",error');
  });
});

describe("money", () => {
  it("has a line for what was used, and the limit", () => {
    const spending = {
      points: [["2026-01-01T00:00:00Z", 0.1, 10], ["2026-01-01T00:00:05Z", null, 20]] as [string, number | null, number][],
      by_task: {},
      by_model: {},
      budget: { usd: 2 }
    };
    expect(seriesOf(spending, "usd")).toEqual({ times: [1767225600, 1767225605], used: [0.1, null], limit: null });
    expect(seriesOf({ ...spending, budget: { usd: 0.3 } }, "usd").limit).toBe(0.3);
    expect(seriesOf(spending, "tokens")).toMatchObject({ used: [10, 20], limit: null });
  });

  it("names the dearest first, by tokens where no price is known", () => {
    const lines = linesOf({ a: { cost_usd: 1, tokens: 9 }, b: { cost_usd: 3, tokens: 1 } });
    expect(lines.map(line => [line.name, line.part])).toEqual([["b", 0.75], ["a", 0.25]]);
    expect(linesOf({ a: { cost_usd: null, tokens: 9 }, b: { cost_usd: 3, tokens: 1 } })[0]!.name).toBe("a");
    expect(linesOf({ a: { cost_usd: 0, tokens: 0 } })[0]!.part).toBe(0);
  });

  it("does not take what has no price for free", () => {
    const free = { cost_usd: 0, tokens: 9, unpriced: 0 };
    const unpriced = { cost_usd: 0, tokens: 27, unpriced: 3 };
    expect(linesOf({ free, unpriced }).map(line => [line.name, line.cost_usd, line.part])).toEqual([
      ["unpriced", null, 0.75],
      ["free", 0, 0.25]
    ]);
    const spending = { points: [["2026-01-01T00:00:00Z", 0, 27]] as [string, number, number][], by_task: {}, by_model: {}, budget: null };
    expect(seriesOf({ ...spending, total: unpriced }, "usd").used).toEqual([null]);
    expect(seriesOf({ ...spending, total: unpriced }, "tokens").used).toEqual([27]);
    expect(seriesOf({ ...spending, total: free }, "usd").used).toEqual([0]);
  });
});

describe("a fork", () => {
  const pipeline = { name: "p", llm: { model: "m" }, tasks: [{ name: "a", prompt: "one" }, { name: "b", prompt: "two", llm: { max_tokens: 3 } }] };

  it("sends a pipeline only when something is another one", () => {
    expect(forkBody(pipeline, { task: "b", prompt: "two", model: "m" })).toEqual({ task: "b", changed: {} });
    expect(forkBody(pipeline, { task: "b", prompt: "2", model: " n " }).changed.pipeline).toEqual({
      ...pipeline,
      tasks: [{ name: "a", prompt: "one" }, { name: "b", prompt: "2", llm: { max_tokens: 3, model: "n" } }]
    });
    expect(pipeline.tasks[1]!.prompt).toBe("two");
  });
});

describe("a run that is watched", () => {
  const NOTHING = { run: null, speech: null, link: { state: "idle" as const }, problem: null, gone: false };
  const run = (last_event: number): Run => ({ id: "r", last_event }) as unknown as Run;

  it("keeps the newer of two views", () => {
    const known = after(after(NOTHING, { type: "run", run: run(5) }), { type: "run", run: run(3) });
    expect(known.run!.last_event).toBe(5);
  });

  it("joins what a model says, and forgets it when the connection was lost", () => {
    const text = (piece: string, item?: number): Parameters<typeof after>[1] => ({ type: "text", text: { run: "r", task: "t", item, text: piece } });
    let known = after(after(NOTHING, text("a")), text("b"));
    expect(known.speech!.text).toBe("ab");
    known = after(known, text("c", 3));
    expect(known.speech).toMatchObject({ item: 3, text: "c" });
    expect(after(known, { type: "link", link: { state: "connecting" } }).speech).toBeNull();
  });
});
