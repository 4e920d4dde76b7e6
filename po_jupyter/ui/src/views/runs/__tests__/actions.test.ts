// @vitest-environment jsdom
import { nullTranslator } from "@jupyterlab/translation";
import { describe, expect, it, vi } from "vitest";

vi.mock("@jupyterlab/apputils", () => ({
  InputDialog: { getItem: async () => ({ button: { accept: true }, value: "t" }) }
}));

import type { Api } from "../../../api/client.js";
import { aRun, aTask } from "../../../state/__tests__/samples.js";
import { RunActions } from "../actions.js";

describe("what a person does to a run", () => {
  it("opens the page of a fork: the output of a cell shows the old run only", async () => {
    const opened = vi.fn();
    const api = { fork: async () => aRun("new") } as unknown as Api;
    const actions = new RunActions(api, () => undefined, nullTranslator.load("po_jupyter"), opened);
    await actions.fork(aRun("old", { state: "done", tasks: [aTask("t")] }));
    expect(opened).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ id: "new" }));
  });

  it("decides the gate that was shown", async () => {
    const decide = vi.fn(async () => aRun("a"));
    const actions = new RunActions({ decide } as unknown as Api, () => undefined, nullTranslator.load("po_jupyter"), vi.fn());
    actions.decide(aRun("a", { state: "waiting", gate: { task: "mail" } }), "approve", "");
    expect(decide).toHaveBeenCalledWith("a", "approve", "", "mail");
  });
});
