/** Styles name no left and no right, so that a page that is read from right to left is mirrored by the browser. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const UI = join(import.meta.dirname, "../..");
const PHYSICAL = [
  /(^|[;{\s])(margin|padding|border|inset)-(left|right)\b/,
  /(^|[;{\s])(left|right)\s*:/,
  /(text-align|float|clear)\s*:\s*(left|right)\b/,
  /border-(top|bottom)-(left|right)-radius/
];
const PHYSICAL_IN_SCRIPT = /\b(margin|padding|border)(Left|Right)\b|style=\{\{[^}]*\b(left|right)\s*:|textAlign:\s*"(left|right)"/;

/** Declarations of a style sheet that mean a side of the screen. */
export function physical(css: string): string[] {
  const declarations = css.replace(/\/\*[\s\S]*?\*\//g, "").match(/[\w-]+\s*:[^;{}]+/g) ?? [];
  return declarations
    .map(each => each.trim())
    .filter(each => {
      const [, property, value] = /^([\w-]+)\s*:\s*([\s\S]*)$/.exec(each)!;
      const sides = value!.trim().split(/\s+(?![^(]*\))/);
      const uneven = /^(margin|padding|inset|border-width)$/.test(property!) && sides.length === 4 && sides[1] !== sides[3];
      return uneven || PHYSICAL.some(pattern => pattern.test(each));
    });
}

it("finds sides of the screen", () => {
  expect(physical("a { margin-left: 1px; left: 0; text-align: right; padding: 1px 2px 3px 4px }")).toHaveLength(4);
  expect(physical("a { margin-inline: 1px; inset-inline-start: 0; text-align: end; padding: 1px 2px 3px 2px }")).toEqual([]);
});

it("there are none in our styles", () => {
  const sheets = readdirSync(join(UI, "style")).filter(name => name.endsWith(".css"));
  expect(sheets.length).toBeGreaterThan(6);
  expect(sheets.flatMap(name => physical(readFileSync(join(UI, "style", name), "utf8")).map(each => `${name}: ${each}`))).toEqual([]);
});

it("nor in what components set themselves", () => {
  const files = readdirSync(join(UI, "src"), { recursive: true, encoding: "utf8" }).filter(
    name => name.endsWith(".tsx") && !name.includes("__tests__")
  );
  expect(files.filter(name => PHYSICAL_IN_SCRIPT.test(readFileSync(join(UI, "src", name), "utf8")))).toEqual([]);
});
