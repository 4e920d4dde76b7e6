/** Rows of a map as CSV, for a spreadsheet or pandas. Pure. */

import type { Row } from "../shapes.js";

/** Columns in their order; answers that are mappings have one for each of their fields. */
export function csvHeader(rows: readonly Row[]): string[] {
  const fields = new Set<string>();
  let whole = false;
  for (const { output } of rows) {
    if (isMapping(output)) {
      Object.keys(output).forEach(name => fields.add(name));
    } else if (output !== null && output !== undefined) {
      whole = true;
    }
  }
  const answers = [...(whole || !fields.size ? ["output"] : []), ...[...fields].map(name => `output.${name}`)];
  return ["index", "state", "input", ...answers, "error", "attempts", "tokens", "cost_usd", "seconds", "model"];
}

/** The first line: names of fields are a model's text as well. */
export function csvHead(header: readonly string[]): string {
  return header.map(cell).join(",") + "\r\n";
}

export function csvLine(row: Row, header: readonly string[]): string {
  return header.map(column => cell(valueOf(row, column))).join(",") + "\r\n";
}

/** The value of a row in a column of the header. */
export function valueOf(row: Row, column: string): unknown {
  if (column.startsWith("output.")) {
    return isMapping(row.output) ? row.output[column.slice("output.".length)] : null;
  }
  if (column === "output") {
    return isMapping(row.output) ? null : row.output;
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
  const safe = /^[=+\-@\t\r\n]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
