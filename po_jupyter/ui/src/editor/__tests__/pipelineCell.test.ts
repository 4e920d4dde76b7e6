import { describe, expect, it } from "vitest";
import { linesOf, pipelineCell, pipelineIn } from "../pipelineCell.js";
import { underline } from "../positions.js";

const cellOf = (text: string) => pipelineCell(linesOf(text));

describe("a pipeline cell", () => {
  it("is one by its first line", () => {
    expect(cellOf("%%po_pipeline tickets --run --model openai:x\ntasks:")).toEqual({
      name: "tickets", model: "openai:x", line: 1, from: 0, to: 44, body: 45
    });
    expect(cellOf("\n\n%%po_pipeline tickets\ntasks:")).toMatchObject({ line: 3, from: 2, body: 24 });
    expect(cellOf("%%po_pipeline\n")).toMatchObject({ name: "", body: 14 });
    expect(cellOf("%%po_pipeline --run\n")?.name).toBe("");
    expect(cellOf("%%po_pipeline a --model='fake:echo' --run")?.model).toBe("fake:echo");
  });

  it.each(["", "\n", "import x", "%%po_pipelines a", "%%po_pipeline-x", " %%po_pipeline a", "%%po_task t\n", "%po runs",
    "# %%po_pipeline a", "x = 1\n%%po_pipeline a"])("is no other: %j", text => {
    expect(cellOf(text)).toBeNull();
  });
});

describe("a pipeline file", () => {
  const fileOf = (text: string) => pipelineIn(linesOf(text), "text/x-yaml");

  it.each([
    "# yaml-language-server: $schema=pipeline.schema.json\nname: x",
    "# mine\n# yaml-language-server: $schema=https://example.org/po_jupyter/pipeline.json\n",
    "# yaml-language-server: $schema=http://localhost:8888/po/api/v1/pipeline.schema.json\n",
    "name: hello\ntasks:\n  - name: greet\n    prompt: Hi",
    "name: hello\ntasks:\n- name: greet\n  prompt: Hi",
    "tasks: # two\n\n  # first\n  - {name: greet, prompt: 'Hi'}",
    "tasks:\n  - name: map\n    for_each: '{{ seed.rows }}'",
    "tasks: [{name: a, prompt: b}]"
  ])("is one by its schema or its tasks: %j", text => {
    expect(fileOf(text)).toEqual({ name: "", model: null, line: 0, from: 0, to: text.split("\n")[0]!.length, body: 0 });
  });

  it.each([
    "", "name: x\n", "tasks:\n", "tasks:\n  build:\n    prompt: Sure?\n    cmds: [make]",
    "- hosts: all\n  tasks:\n    - name: a\n      prompt: x", "tasks:\n  - name: a\n    cmd: x\nprompt: x",
    "# yaml-language-server: $schema=https://json.schemastore.org/taskfile.json\ntasks:\n  - name: a\n    prompt: x",
    "%%po_pipeline a\ntasks:"
  ])("is no other YAML: %j", text => expect(fileOf(text)).toBeNull());

  it("is nothing in a file of another kind", () => {
    expect(pipelineIn(linesOf("tasks:\n  - name: a\n    prompt: x"), "text/plain")).toBeNull();
    expect(pipelineIn(linesOf("%%po_pipeline a\n"), "text/x-ipython")).not.toBeNull();
  });

  it("has its mistakes where the file has them", () => {
    const text = "tasks:\n  - name: a\n    neds: [b]\n    prompt: x\n";
    const at = (violation: object) => {
      const { from, to } = underline({ where: "", message: "m", ...violation }, linesOf(text), fileOf(text)!);
      return text.slice(from, to);
    };
    expect(at({ line: 3, column: 5 })).toBe("neds");
    expect(at({})).toBe("tasks:");
    expect(at({ where: "name" })).toBe("tasks:");
  });
});

describe("the place of a mistake", () => {
  const text = "%%po_pipeline tickets --run\ntasks:\n  - name: a\n    neds: [b]\n    prompt: 'x'  \n";
  const at = (violation: object) => {
    const { from, to } = underline({ where: "", message: "m", ...violation }, linesOf(text), cellOf(text)!);
    return text.slice(from, to);
  };

  it("is the word at its column", () => {
    expect(at({ line: 3, column: 5 })).toBe("neds");
    expect(at({ line: 4, column: 13 })).toBe("'x'");
  });

  it("is the line without a column, and the magic without a line", () => {
    expect(at({ line: 4 })).toBe("prompt: 'x'");
    expect(at({})).toBe("%%po_pipeline tickets --run");
    expect(at({ where: "name", line: 1, column: 1 })).toBe("tickets");
    expect(at({ line: 2, column: 99 })).toBe("");
  });

  it("is the last line of what ends too early", () => {
    expect(at({ line: 5, column: 1 })).toBe("prompt: 'x'");
    expect(at({ line: 99 })).toBe("prompt: 'x'");
  });

  it("is in the body for a name that stands there", () => {
    const own = "%%po_pipeline a\nname: b\n";
    const { from, to } = underline({ where: "name", message: "m", line: 1, column: 1 }, linesOf(own), cellOf(own)!);
    expect(own.slice(from, to)).toBe("name");
  });
});
