// @vitest-environment jsdom
import type { ServerConnection } from "@jupyterlab/services";
import { describe, expect, it } from "vitest";
import type { IPoLive } from "../../../tokens.js";
import { RunFiles } from "../files/drive.js";

// jsdom's has it not.
Blob.prototype.arrayBuffer ??= function (this: Blob) {
  return new Promise(resolve => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as ArrayBuffer);
    reader.readAsArrayBuffer(this);
  });
};

const NOTEBOOK = {
  nbformat: 4,
  nbformat_minor: 5,
  metadata: { trusted: true, language_info: { name: "python" } },
  cells: [
    {
      cell_type: "code",
      source: "",
      metadata: { trusted: true, tags: ["x"] },
      outputs: [{ output_type: "display_data", data: { "text/html": "<script>steal()</script>" }, metadata: {} }]
    },
    { cell_type: "markdown", source: "", metadata: { trusted: true } }
  ]
};

/** The drive of a run with one file of this content. */
function driveOf(content: string): RunFiles {
  const api = { send: async () => ({ blob: async () => new Blob([content]) }) };
  return new RunFiles({ api: async () => api } as unknown as IPoLive, {} as ServerConnection.ISettings);
}

async function read(content: string, name: string, format?: "json" | "text" | "base64"): Promise<unknown> {
  const model = await driveOf(content).get(`r1/${name}`, { format });
  if (format === "json") {
    return model.content;
  }
  const text = format === "base64" ? Buffer.from(model.content as string, "base64").toString() : (model.content as string);
  return JSON.parse(text);
}

describe("a notebook among the files of a run", () => {
  it.each(["json", "text", "base64", undefined] as const)("does not say of itself that it is trusted (%s)", async format => {
    for (const name of ["report.ipynb", "report.json"]) {
      const found = (await read(JSON.stringify(NOTEBOOK), name, format)) as typeof NOTEBOOK;
      expect(JSON.stringify(found)).not.toContain("trusted");
      expect(found.cells[0]!.metadata).toEqual({ tags: ["x"] });
      expect(found.cells[0]!.outputs).toEqual(NOTEBOOK.cells[0]!.outputs);
    }
  });

  it("does not inherit trust", async () => {
    const content = '{"cells": [{"cell_type": "code", "metadata": {"__proto__": {"trusted": true}}}]}';
    expect(JSON.stringify(await read(content, "a.ipynb", "json"))).toBe('{"cells":[{"cell_type":"code","metadata":{}}]}');
  });

  it("is not opened when it is nested too deep to be looked through", async () => {
    const deep = "[".repeat(200_000) + "]".repeat(200_000);
    const content = `{"cells": [{"cell_type": "code", "metadata": {"trusted": true, "x": ${deep}}}]}`;
    await expect(driveOf(content).get("r1/a.ipynb", { format: "json" })).rejects.toThrow(RangeError);
  });

  it("is the only file that is changed", async () => {
    const content = '{ "metadata": {"trusted": true} }';
    expect((await driveOf(content).get("r1/a.json", { format: "text" })).content).toBe(content);
    expect((await driveOf("cells, trusted").get("r1/a.txt")).content).toBe("cells, trusted");
  });
});
