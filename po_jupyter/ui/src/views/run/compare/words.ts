/** A comparison in words. Pure. */

import type { TranslationBundle } from "@jupyterlab/translation";
import { grouped } from "../../../format/numbers.js";
import type { ComparedRow, ComparisonSummary, PairedScore } from "../shapes.js";

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

/** "0.80 (0.67 to 0.89)". */
function mean({ mean: value, interval }: PairedScore["a"], trans: Pick<TranslationBundle, "__">): string {
  const shown = value === null ? "–" : value.toFixed(2);
  const [low, high] = interval ?? [];
  return low === undefined || high === undefined ? shown : trans.__("%1 (%2 to %3)", shown, low.toFixed(2), high.toFixed(2));
}

/** "exact: A 0.80 (0.67 to 0.89), B 0.86 (0.74 to 0.93)" and, of scores that are right or wrong, McNemar's p. */
export function scoreLine(score: PairedScore, trans: Pick<TranslationBundle, "__">): string {
  const means = trans.__("%1: A %2, B %3", score.name, mean(score.a, trans), mean(score.b, trans));
  if (score.p === null) {
    return means;
  }
  const only = trans.__("%1 right in A only, %2 in B only", grouped(score.a_only ?? 0), grouped(score.b_only ?? 0));
  return `${means} · ${only} · ${trans.__("McNemar's p %1", score.p < 0.001 ? "< 0.001" : score.p.toFixed(3))}`;
}
