import { describe, expect, it } from "vitest";
import { moment, readContent } from "../content.js";

const view = { state: "running", name: "n", tasks: [{ name: "a", state: "running", items: { total: 3 } }], last_event: 7 };
const content = { version: 1, run: "0190-a", base: "po/api/v1/", view, hidden: {}, results: [], at: "2026-11-26T22:14:00Z" };

function read(change: object): ReturnType<typeof readContent> {
  return readContent({ ...content, ...change });
}

describe("what a notebook keeps of a run", () => {
  it("is read as the run that it was", () => {
    const reading = read({ results: [["row 0", "x"]], hidden: { done: 4 } });
    expect(reading).toMatchObject({
      kind: "run",
      content: {
        run: "0190-a",
        view: { id: "0190-a", state: "running", last_event: 7, tasks: [{ name: "a", items: { total: 3, done: 0 } }] },
        results: [["row 0", "x"]],
        hidden: { done: 4 },
        at: Date.parse(content.at)
      }
    });
  });

  it("may be for other frontends only", () => {
    expect(read({ view: null }).kind).toBe("nothing");
  });

  it("of a newer version is asked of the server", () => {
    expect(read({ version: 2, view: { whatever: [] } })).toMatchObject({ kind: "run", content: { view: null } });
  });

  it.each([null, undefined, 3, "x", [], {}, { run: "../../api/sessions" }, { run: "a b" }, { run: "x".repeat(99) }])(
    "that is none is not read: %j",
    data => expect(readContent(data).kind).toBe("unreadable")
  );

  it.each([
    { tasks: "x" },
    { tasks: [null, 3, { name: {} }, { name: ["a"], state: "running", error: "x", usage: [], items: 4, attempt: "9" }] },
    { gate: { artifacts: { length: 3 }, message: { toString: null } } },
    { error: { message: { $$typeof: "react" }, details: [] } },
    { usage: { cost: "free", calls: -1, input_tokens: NaN } },
    { warnings: [{}, null, { scope: {}, fraction: "1" }] },
    { created_at: "yesterday", position: {}, waiting: [], last_event: "z" }
  ])("that somebody made up is drawn or left out, and breaks nothing: %j", change => {
    const reading = read({ view: { ...view, ...change } });
    expect(reading.kind).toBe("run");
    const run = reading.kind === "run" && reading.content.view;
    expect(JSON.stringify(run)).not.toMatch(/typeof|NaN/);
    for (const task of (run && run.tasks) || []) {
      expect(typeof task.name).toBe("string");
      expect(typeof task.attempt).toBe("number");
    }
  });

  it("has a state that we know, or no view", () => {
    expect(read({ view: { ...view, state: "evil" } })).toMatchObject({ kind: "run", content: { view: null } });
  });

  it("obeys no mark that reorders text", () => {
    const reading = read({ view: { ...view, name: "a\u202egpj\u001b[31m" }, results: [["r", "x\u2066"]] });
    expect(reading).toMatchObject({ content: { view: { name: "a\ufffdgpj\ufffd[31m" }, results: [["r", "x\ufffd"]] } });
  });
});

describe("of when it is", () => {
  const at = new Date(2026, 10, 26, 22, 4).getTime();
  it("is said in the reader's time, with the year where it is another one", () => {
    expect(moment(at, at + 3_600_000)).toBe("22:04, Nov 26");
    expect(moment(at, new Date(2027, 0, 1).getTime())).toBe("22:04, Nov 26, 2026");
  });
});
