/** A comparison in words. Pure. */

import type { TranslationBundle } from "@jupyterlab/translation";
import { grouped } from "../../../format/numbers.js";
import type { ComparedRow, ComparisonSummary } from "../shapes.js";

export function changeWord(change: ComparedRow["change"]): string {
  return { only_a: "only in A", only_b: "only in B", failed: "both failed", open: "no answer yet" }[change as string] ?? change;
}

/** The number of the row, or of the two where it stands elsewhere in B: "5 → 94". */
export function rowsOf({ a, b }: ComparedRow): string {
  const numbers = [a, b].flatMap(side => (side ? [side.index] : []));
  return numbers[0] === numbers[1] || numbers.length === 1 ? String(numbers[0]) : numbers.join(" → ");
}

/** "93 of 100 answers agree (93 %) · 7 changed · 2 only in B". */
export function agreement(summary: ComparisonSummary, trans: Pick<TranslationBundle, "__">): string {
  const judged = summary.same + summary.changed;
  const parts = [
    summary.agreement === null
      ? trans.__("No answers to compare yet")
      : trans.__("%1 of %2 answers agree (%3 %)", grouped(summary.same), grouped(judged), Math.floor((summary.same * 100) / judged))
  ];
  for (const change of ["changed", "only_a", "only_b", "failed", "open"] as const) {
    if (summary[change]) {
      parts.push(`${grouped(summary[change])} ${changeWord(change)}`);
    }
  }
  if (summary.by_index) {
    parts.push(trans.__("%1 joined by their place, as their inputs differ", grouped(summary.by_index)));
  }
  return parts.join(" · ");
}
