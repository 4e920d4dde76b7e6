/** How good the answer of a row is, in words. Pure. */

import type { Row, RowScores } from "../shapes.js";

/** "0.80", and a dash where it could not be told. */
export function scoreText(value: number | null | undefined): string {
  return typeof value === "number" ? value.toFixed(2) : "–";
}

/** All scores of a row on one line: one alone without its name, which its column says. */
export function scoresLine({ scores }: Row, names: readonly string[]): string {
  if (!scores) {
    return "";
  }
  const [only] = names;
  return names.length === 1 && only !== undefined
    ? scoreText(scores.values[only])
    : entriesOf(scores).map(([name, value]) => `${name} ${scoreText(value)}`).join(" · ");
}

/** Each score with its note. */
export function entriesOf({ values, notes }: RowScores): [name: string, value: number | null, note: string][] {
  return Object.entries(values).map(([name, value]) => [name, value, notes?.[name] ?? ""]);
}
