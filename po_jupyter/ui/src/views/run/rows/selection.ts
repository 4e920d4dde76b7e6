/** Rows that a person chose, by index, with the state that each was in. Pure. */

import type { Row } from "../shapes.js";

export type Selection = ReadonlyMap<number, string>;

export const NOTHING: Selection = new Map();

/** As many as the server asks for again at once. */
export const MOST = 10_000;

/** With one more row, or without it. */
export function toggled(selection: Selection, row: Row): Selection {
  const next = new Map(selection);
  if (!next.delete(row.index) && next.size < MOST) {
    next.set(row.index, row.state);
  }
  return next;
}

/** With these rows too, up to the most that there may be. */
export function extended(selection: Selection, rows: readonly Row[]): Selection {
  const next = new Map(selection);
  for (const row of rows) {
    if (next.size >= MOST && !next.has(row.index)) {
      break;
    }
    next.set(row.index, row.state);
  }
  return next;
}
