import { EditorState } from "@codemirror/state";
import type { Language } from "@codemirror/language";
import { syntaxTree, ensureSyntaxTree, getIndentation, IndentContext, indentUnit } from "@codemirror/language";
import { highlightTree, tagHighlighter, tags } from "@lezer/highlight";
import { describe, expect, it } from "vitest";
import { pipelineFileLanguage, pipelineLanguage } from "../language.js";

const TEXT = `%%po_pipeline tickets --run
tasks:
  - name: label
    prompt: |
      Label {{ item.text | upper }}
    for_each: "{{ seed.rows }}"  # rows
`;
const names = tagHighlighter([
  { tag: tags.meta, class: "meta" },
  { tag: tags.definition(tags.propertyName), class: "key" },
  { tag: tags.variableName, class: "variable" },
  { tag: tags.propertyName, class: "property" },
  { tag: tags.lineComment, class: "comment" },
  { tag: tags.attributeName, class: "option" }
]);

function coloured(text: string, language: Language = pipelineLanguage): [string, string][] {
  const state = EditorState.create({ doc: text, extensions: language.extension });
  const tree = ensureSyntaxTree(state, text.length, 5000) ?? syntaxTree(state);
  const found: [string, string][] = [];
  highlightTree(tree, names, (from, to, kind) => found.push([text.slice(from, to), kind]));
  return found;
}

describe("the language of a pipeline cell", () => {
  it("is a magic, YAML and Jinja", () => {
    expect(coloured(TEXT)).toEqual([
      ["%%po_pipeline", "meta"], ["tickets", "variable"], ["--run", "option"], ["tasks", "key"], ["name", "key"], ["prompt", "key"],
      ["item", "variable"], ["text", "property"], ["upper", "variable"], ["for_each", "key"], ["seed", "variable"], ["rows", "property"],
      ["# rows", "comment"]
    ]);
  });

  it("is YAML and Jinja in a file, from its first line on", () => {
    expect(coloured(TEXT.slice(TEXT.indexOf("tasks")), pipelineFileLanguage)).toEqual(coloured(TEXT).slice(3));
  });

  it("is read also where it is not finished", () => {
    for (const end of [0, 5, 27, 28, 40, 60, 90]) {
      expect(() => coloured(TEXT.slice(0, end))).not.toThrow();
    }
  });

  it("is indented as YAML", () => {
    const indentedAfter = (doc: string): number | null => {
      const created = EditorState.create({ doc, extensions: [pipelineLanguage.extension, indentUnit.of("  ")] });
      ensureSyntaxTree(created, doc.length, 5000);
      const { state } = created.update({}); // with the tree that is whole now
      return getIndentation(new IndentContext(state, { simulateBreak: doc.length }), doc.length);
    };
    expect(indentedAfter("%%po_pipeline a\ntasks:\n  - name: label")).toBe(4);
    expect(indentedAfter("%%po_pipeline a\ntasks:\n  - name: label\n    prompt: |\n      Hi")).toBe(6);
  });
});
