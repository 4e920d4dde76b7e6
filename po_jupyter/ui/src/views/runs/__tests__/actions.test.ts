// @vitest-environment jsdom
import { nullTranslator } from "@jupyterlab/translation";
import { beforeEach, describe, expect, it, vi } from "vitest";

const answer = vi.hoisted(() => ({ accept: true, titles: [] as string[] }));
vi.mock("@jupyterlab/apputils", () => ({
  Dialog: { cancelButton: () => ({}), warnButton: () => ({}) },
  showDialog: async ({ title }: { title: string }) => (answer.titles.push(title), { button: { accept: answer.accept } }),
  InputDialog: { getItem: async () => ({ button: { accept: true }, value: "t" }) }
}));

import type { Api } from "../../../api/client.js";
import { aRun, aTask } from "../../../state/__tests__/samples.js";
import { RunActions } from "../actions.js";

beforeEach(() => {
  answer.titles = [];
});

describe("what a person does to a run", () => {
  it("opens the page of a fork: the output of a cell shows the old run only", async () => {
    const opened = vi.fn();
    const api = { fork: async () => aRun("new") } as unknown as Api;
    const actions = new RunActions(api, () => undefined, nullTranslator.load("po_jupyter"), opened);
    await actions.fork(aRun("old", { state: "done", tasks: [aTask("t")] }));
    expect(opened).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ id: "new" }));
  });

  it("moves a run to the shared ones once that was confirmed, and asks until it is there", async () => {
    const there = aRun("a", { state: "moved", moved: { to: "shared", accepted: true } });
    const move = vi.fn(async () => there);
    const seen: unknown[] = [];
    const actions = new RunActions({ move } as unknown as Api, action => seen.push(action), nullTranslator.load("po_jupyter"), vi.fn());
    answer.accept = false;
    await actions.move(aRun("a"));
    expect(move).not.toHaveBeenCalled();
    answer.accept = true;
    await actions.move(aRun("a"));
    expect(answer.titles).toHaveLength(2);
    expect(move).toHaveBeenCalledExactlyOnceWith("a");
    expect(seen).toContainEqual({ type: "run", run: there });
  });

  it("decides the gate that was shown", async () => {
    const decide = vi.fn(async () => aRun("a"));
    const actions = new RunActions({ decide } as unknown as Api, () => undefined, nullTranslator.load("po_jupyter"), vi.fn());
    actions.decide(aRun("a", { state: "waiting", gate: { task: "mail" } }), "approve", "");
    expect(decide).toHaveBeenCalledWith("a", "approve", "", "mail");
  });
});
