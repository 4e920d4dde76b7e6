/** Every text that a person reads goes through the translator, so that a language pack can have it. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { expect, it } from "vitest";
import { catalogue, written } from "../../translation/catalogue.mjs";

const SRC = join(import.meta.dirname, "..");
const FILES = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter(
  name => /\.tsx?$/.test(name) && !name.includes("__tests__") && !name.endsWith(".d.ts")
);
/** Attributes of an element, and fields of an object, that are read by people. */
const READ = new Set([
  "label", "title", "placeholder", "aria-label", "alt", "caption", "description", "message", "hint", "body", "word",
  "okLabel", "cancelLabel", "text", "doing", "first"
]);
/** Fields that describe something to programs, whatever is in them. */
const FOR_PROGRAMS = new Set(["className", "style", "data-link", "key", "id", "type", "role"]);
const TRANSLATES = new Set(["__", "_n", "_p", "_np"]);
/** What looks like a text and is none: keys, names of files and formats, samples of code. */
const NO_TEXT = new Set(["CSV", "Parquet", "rows  …   …", "gate  …", "export  …", "rows  …", "file  …", '{"text": "..."}']);
/** Milliseconds: a compiler reads all files. */
const PATIENCE = 60_000;
const WORD = /\p{L}{2,}/u;

/** The texts of a file that are shown and not translated, with their lines. */
export function bareStrings(name: string, content: string): string[] {
  const source = ts.createSourceFile(name, content, ts.ScriptTarget.Latest, true, name.endsWith("x") ? ts.ScriptKind.TSX : ts.ScriptKind.TS);
  const found: string[] = [];
  const tell = (node: ts.Node, text: string): void => {
    if (WORD.test(text) && !NO_TEXT.has(text.trim())) {
      found.push(`${name}:${source.getLineAndCharacterOfPosition(node.getStart()).line + 1}: ${text.trim().slice(0, 80)}`);
    }
  };
  const textsOf = (node: ts.Node): void => {
    if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) {
      tell(node, node.text);
    } else if (ts.isTemplateExpression(node)) {
      tell(node, [node.head.text, ...node.templateSpans.map(span => span.literal.text)].join(" … "));
      node.templateSpans.forEach(span => textsOf(span.expression));
    } else if (ts.isConditionalExpression(node)) {
      textsOf(node.whenTrue);
      textsOf(node.whenFalse);
    } else if (ts.isBinaryExpression(node)) {
      if (["??", "||", "+", "&&"].includes(node.operatorToken.getText())) {
        textsOf(node.left);
        textsOf(node.right);
      }
    } else if (ts.isParenthesizedExpression(node)) {
      textsOf(node.expression);
    }
  };
  const visit = (node: ts.Node): void => {
    if (ts.isJsxElement(node) && node.openingElement.tagName.getText() === "pre") {
      return; // code
    }
    if (ts.isJsxText(node)) {
      tell(node, node.text);
    } else if (ts.isJsxExpression(node) && node.expression && !ts.isJsxAttribute(node.parent)) {
      textsOf(node.expression);
    } else if (ts.isJsxAttribute(node)) {
      const attribute = node.name.getText();
      if (READ.has(attribute) && node.initializer) {
        textsOf(ts.isJsxExpression(node.initializer) ? node.initializer.expression! : node.initializer);
      }
    } else if (ts.isPropertyAssignment(node)) {
      const field = node.name.getText();
      if (field === "describedBy" || field === "properties") {
        return; // a JSON Schema for programs
      }
      if (FOR_PROGRAMS.has(field) || isPlugin(node.parent)) {
        ts.forEachChild(node.initializer, visit);
        return;
      }
      if (READ.has(field)) {
        textsOf(node.initializer);
      }
    } else if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.EqualsToken) {
      if (ts.isPropertyAccessExpression(node.left) && (READ.has(node.left.name.text) || node.left.name.text === "textContent")) {
        textsOf(node.right);
      }
    } else if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression) && TRANSLATES.has(node.expression.name.text)) {
      const text = node.arguments[0];
      const isMarked = text && ts.isPropertyAccessExpression(text) && text.name.text === "label"; // by mark()
      if (!text || !(ts.isStringLiteralLike(text) || isMarked)) {
        found.push(`${name}: ${node.getText().slice(0, 60)}: what is computed is in no catalogue`);
      }
      node.arguments.slice(1).forEach(visit);
      return;
    } else if (ts.isReturnStatement(node) && node.expression && ts.isStringLiteral(node.expression)) {
      if (/\p{L}{2,}\s\p{L}{2,}/u.test(node.expression.text)) {
        tell(node, node.expression.text);
      }
    } else if (ts.isTemplateExpression(node) && !isForPrograms(node)) {
      // Words around a value make a sentence, wherever it is made.
      const words = [node.head.text, ...node.templateSpans.map(span => span.literal.text)];
      if (words.some(text => /(^|\s)\p{L}{2,}\s|\s\p{L}{2,}(\s|$)/u.test(text))) {
        tell(node, words.join(" … "));
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return [...new Set(found)];
}

/** Whether an object is a plugin, whose description nobody but Lab's developers reads. */
function isPlugin(object: ts.ObjectLiteralExpression): boolean {
  return object.properties.some(property => property.name?.getText() === "activate");
}

/** Class names, selectors, addresses and errors for developers. */
function isForPrograms(node: ts.TemplateExpression): boolean {
  let at: ts.Node = node;
  while (at.parent && !ts.isStatement(at.parent)) {
    at = at.parent;
    if (ts.isJsxAttribute(at) && !READ.has(at.name.getText())) {
      return true;
    }
    if (ts.isNewExpression(at) || (ts.isCallExpression(at) && /console|querySelector|RegExp/.test(at.expression.getText()))) {
      return true;
    }
  }
  return false;
}

it("finds what is not translated, and leaves what is", () => {
  const bad = [
    "const a = <p>Hello there</p>;",
    'const b = <Button label="Start" />;',
    "const c = <p>{`row ${n}`}</p>;",
    'const d = { label: "Call", width: "4em" };',
    "const e = `place ${n} in the queue`;",
    "trans.__(column.name);"
  ];
  bad.forEach(line => expect(bareStrings("a.tsx", line), line).toHaveLength(1));
  const good = [
    'const a = <p className="po-Row">{trans.__("Hello %1", `${n}`)}</p>;',
    "const b = <p className={`po-is-${state}`}>{n} · {name}</p>;",
    'const c = { title: trans.__("Name"), describedBy: { description: "for programs" } };',
    "throw new Error(`a button of ${name} outside of it`);"
  ];
  good.forEach(line => expect(bareStrings("a.tsx", line), line).toEqual([]));
});

it("is true of all files", () => {
  expect(FILES.length).toBeGreaterThan(80);
  expect(FILES.flatMap(name => bareStrings(name, readFileSync(join(SRC, name), "utf8")))).toEqual([]);
}, PATIENCE);

it("the template of the catalogue has them: `jlpm catalogue` writes it", () => {
  expect(written()).toBe(catalogue());
  expect(written()).toContain('msgid "Approve"');
}, PATIENCE);
