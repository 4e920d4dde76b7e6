/** Where in a cell a mistake is underlined. */

import type { Lines, PipelineCell } from "./pipelineCell.js";
import type { Violation } from "./requests.js";

export interface Underline {
  from: number;
  to: number;
  message: string;
}

const WORD = /^(?:"(?:[^"\\]|\\.)*"|'[^']*'|[\w$.-]+)/;
const OWN_NAME = /^(?:name|"name"|'name')\s*:/m;

/** The place of a mistake in the cell: the word at its column, else its line, else the line of the magic. */
export function underline(violation: Violation, text: Lines, cell: PipelineCell): Underline {
  const { message, where, line, column } = violation;
  const ofMagic = where.startsWith("options.") || (where === "name" && !hasOwnName(text, cell));
  if (ofMagic || !line) {
    return { ...magicPart(where, text, cell), message };
  }
  const number = cell.line + line;
  const found = lineAt(text, number);
  const exact = column && number <= text.lines && found.from === text.line(number).from;
  const start = found.text.length - found.text.trimStart().length;
  const begin = exact ? Math.min(column - 1, found.text.length) : start;
  const word = exact ? WORD.exec(found.text.slice(begin))?.[0].length : undefined;
  const end = word ? begin + word : Math.max(begin, found.text.trimEnd().length);
  return { from: found.from + begin, to: found.from + end, message };
}

/** The line with that number, or the last one above it that is not empty: YAML misses things at its end. */
function lineAt(text: Lines, number: number): ReturnType<Lines["line"]> {
  let found = text.line(Math.min(number, text.lines));
  for (let above = Math.min(number, text.lines) - 1; above > 0 && !found.text.trim(); above--) {
    found = text.line(above);
  }
  return found;
}

function hasOwnName(text: Lines, cell: PipelineCell): boolean {
  for (let number = cell.line + 1; number <= text.lines; number++) {
    if (OWN_NAME.test(text.line(number).text)) {
      return true;
    }
  }
  return false;
}

function magicPart(where: string, text: Lines, cell: PipelineCell): { from: number; to: number } {
  const part = where === "name" ? cell.name : where === "options.model" ? (cell.model ?? "") : "";
  const at = part ? text.line(cell.line).text.indexOf(part) : -1;
  return at < 0 ? { from: cell.from, to: cell.to } : { from: cell.from + at, to: cell.from + at + part.length };
}
