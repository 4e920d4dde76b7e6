import { describe, expect, it } from "vitest";
import { linesOf, pipelineCell } from "../pipelineCell.js";
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
