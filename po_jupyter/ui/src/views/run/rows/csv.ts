/** Rows of a map as CSV, for a spreadsheet or pandas. Pure. */

import type { Row } from "../shapes.js";

/** Fields that have a column each: answers whose fields are all different would be a table of millions of cells. */
const MOST_FIELDS = 500;

/** Columns in their order; answers that are mappings have one for each of their fields, scores one each. */
export function csvHeader(rows: readonly Row[]): string[] {
  const fields = new Set<string>();
  const scores = new Set<string>();
  let whole = false;
  for (const { output, scores: own } of rows) {
    Object.keys(own?.values ?? {}).forEach(name => scores.add(`score.${name}`));
    if (hasFields(output)) {
      Object.keys(output).forEach(name => fields.add(name));
    } else if (output !== null && output !== undefined) {
      whole = true;
    }
  }
  if (fields.size > MOST_FIELDS) {
    fields.clear();
  }
  const answers = [...(whole || !fields.size ? ["output"] : []), ...[...fields].map(name => `output.${name}`)];
  const variant = rows.some(row => row.variant !== undefined) ? ["variant"] : [];
  return ["index", ...variant, "state", "input", ...answers, ...scores, "error", "attempts", "tokens", "cost_usd", "seconds", "model"];
}

/** The first line: names of fields are a model's text as well. */
export function csvHead(header: readonly string[]): string {
  return header.map(cell).join(",") + "\r\n";
}

export function csvLine(row: Row, header: readonly string[]): string {
  const fields = hasColumns(header);
  return header.map(column => cell(valueOf(row, column, fields))).join(",") + "\r\n";
}

/** Whether fields of answers have columns. */
export function hasColumns(header: readonly string[]): boolean {
  return header.some(column => column.startsWith("output."));
}

/** The value of a row in a column of the header; `fields`: fields of answers have columns of their own. */
export function valueOf(row: Row, column: string, fields: boolean): unknown {
  if (column.startsWith("output.")) {
    const name = column.slice("output.".length);
    return isMapping(row.output) && Object.hasOwn(row.output, name) ? row.output[name] : null;
  }
  if (column.startsWith("score.")) {
    return row.scores?.values[column.slice("score.".length)];
  }
  if (column === "output") {
    return fields && hasFields(row.output) ? null : row.output;
  }
  return column === "error" ? row.error?.message : row[column as keyof Row];
}

function cell(value: unknown): string {
  if (value === null || value === undefined) {
    return "";
  }
  if (typeof value === "number" || typeof value === "boolean") {
    return String(value);
  }
  const text = typeof value === "string" ? value : JSON.stringify(value);
  // A spreadsheet would run a model's text that begins like a formula.
  const safe = /^[=+\-@\t\r\n\0]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An object without a field is an answer too: it stands in the column of those that have no fields. */
function hasFields(value: unknown): value is Record<string, unknown> {
  return isMapping(value) && Object.keys(value).length > 0;
}
