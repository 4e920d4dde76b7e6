/** The language of a pipeline cell: the line of its magic, YAML below it, Jinja in the texts of the YAML. */

import { jinjaLanguage } from "@codemirror/lang-jinja";
import { yamlLanguage } from "@codemirror/lang-yaml";
import { defineLanguageFacet, indentNodeProp, Language, languageDataProp } from "@codemirror/language";
import { NodeType, parseMixed, Parser, Tree } from "@lezer/common";
import type { Input, NestedParse, NodeProp, ParseWrapper, PartialParse, SyntaxNodeRef, TreeFragment } from "@lezer/common";
import { styleTags, tags } from "@lezer/highlight";

const TEXTS = new Set(["QuotedLiteral", "Literal", "BlockLiteralContent"]);
const TAG = /\{\{[^]*?\}\}|\{%[^]*?%\}|\{#[^]*?#\}/g;
/** A text that is longer is not looked at for Jinja. */
const LONGEST_TEXT = 50_000;

const data = defineLanguageFacet({ commentTokens: { line: "#" }, indentOnInput: /^\s*[\]}]$/ });
const styles = styleTags({ Magic: tags.meta, Name: tags.definition(tags.variableName), Option: tags.attributeName });
// At the end of a cell its top node is asked for the indentation, not YAML's.
const indentation = yamlLanguage.parser.nodeSet.types.find(each => each.name === "Stream")?.prop(indentNodeProp);
const topProps: [NodeProp<unknown>, unknown][] = [[languageDataProp as NodeProp<unknown>, data]];
if (indentation) {
  topProps.push([indentNodeProp as NodeProp<unknown>, indentation]);
}
const type = (id: number, name: string, top = false): NodeType =>
  NodeType.define({ id, name, top, props: top ? topProps : [styles] });
const CELL = type(1, "Cell", true);
const MAGIC_LINE = type(2, "MagicLine");
const MAGIC = type(3, "Magic");
const NAME = type(4, "Name");
const OPTION = type(5, "Option");
const BODY = type(6, "Body");

/** Jinja's tags within a text of the YAML. */
function jinja(node: SyntaxNodeRef, input: Input): NestedParse | null {
  if (!TEXTS.has(node.name) || node.to - node.from > LONGEST_TEXT) {
    return null;
  }
  const overlay = [...input.read(node.from, node.to).matchAll(TAG)].map(match => ({
    from: node.from + match.index,
    to: node.from + match.index + match[0].length
  }));
  return overlay.length ? { parser: jinjaLanguage.parser, overlay } : null;
}

/** Of a file, which is YAML from its first line on. */
export const pipelineFileLanguage = yamlLanguage.configure({ wrap: parseMixed(jinja) }, "po_pipeline_file");
const mounted: ParseWrapper = parseMixed(node => (node.type === BODY ? { parser: pipelineFileLanguage.parser } : null));

class CellParser extends Parser {
  override createParse(
    input: Input,
    fragments: readonly TreeFragment[],
    ranges: readonly { from: number; to: number }[]
  ): PartialParse {
    return mounted(new CellParse(input), input, fragments, ranges);
  }
}

/** The outer parse: where the magic's line ends. It takes no time, so it is done in one step. */
class CellParse implements PartialParse {
  constructor(private readonly input: Input) {}

  readonly parsedPos = 0;
  readonly stoppedAt = null;

  stopAt(): void {
    // The outer parse has nothing to stop.
  }

  advance(): Tree {
    const text = this.input.read(0, this.input.length);
    const start = text.search(/\S/);
    const end = start < 0 ? text.length : (text + "\n").indexOf("\n", start);
    const body = Math.min(end + 1, text.length);
    const children = [magicLine(text.slice(Math.max(start, 0), end))];
    const positions = [Math.max(start, 0)];
    if (body < text.length) {
      children.push(new Tree(BODY, [], [], text.length - body));
      positions.push(body);
    }
    return new Tree(CELL, children, positions, text.length);
  }
}

function magicLine(line: string): Tree {
  const children: Tree[] = [];
  const positions: number[] = [];
  for (const match of line.matchAll(/\S+/g)) {
    const kind = match.index === 0 ? MAGIC : match[0].startsWith("--") ? OPTION : children.length === 1 ? NAME : null;
    if (kind) {
      children.push(new Tree(kind, [], [], match[0].length));
      positions.push(match.index);
    }
  }
  return new Tree(MAGIC_LINE, children, positions, line.length);
}

export const pipelineLanguage = new Language(data, new CellParser(), [], "po_pipeline");
