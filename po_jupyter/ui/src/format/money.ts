/** Money and tokens, as `po_jupyter.presentation.format` says them: the golden cases hold the two together. */

import { language } from "./language.js";
import { fixed, grouped } from "./numbers.js";

/** US dollars. Null is unknown, exactly nothing is `$0`; what is not nothing never looks like it. */
export function money(usd: number | null | undefined): string {
  if (usd === null || usd === undefined) {
    return language.trans.__("cost unknown");
  }
  if (usd === 0) {
    return "$0";
  }
  if (usd < 0.0001) {
    return "<$0.0001";
  }
  if (usd < 0.0095) {
    return "$" + fixed(Number(usd.toExponential(1)), 5).replace(/0+$/, "");
  }
  return usd < 0.9995 ? "$" + fixed(usd, 3) : "$" + grouped(usd, 2);
}

/** A sum with what is not in it: `$1.20 + 3 calls of unknown price + 1 call of unknown outcome`. */
export function costSum(usd: number | null, unpriced = 0, unknown = 0): string {
  const { trans } = language;
  const parts = usd === null && (unpriced || unknown) ? [] : [money(usd)];
  if (unpriced) {
    parts.push(trans._n("%2 call of unknown price", "%2 calls of unknown price", unpriced, grouped(unpriced)));
  }
  if (unknown) {
    parts.push(trans._n("%2 call of unknown outcome", "%2 calls of unknown outcome", unknown, grouped(unknown)));
  }
  return parts.join(" + ");
}

/** A number of tokens: `812`, `18.2k`, `412k`, `1.23M`. */
export function tokens(count: number): string {
  if (count < 1000) {
    return String(count);
  }
  if (count < 99_950) {
    return fixed(count / 1000, 1) + "k";
  }
  return count < 999_500 ? fixed(count / 1000, 0) + "k" : fixed(count / 1e6, 2) + "M";
}

/** Bytes as people read them: `812 B`, `1.4 MB`. */
export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.95 ? fixed(value, 0) : fixed(value, 1)} ${units[unit]}`;
}
