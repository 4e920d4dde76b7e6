/** The money of a run as lines of a chart and lines of tables. Pure. */

import type { Share, Spending } from "../shapes.js";

export type Unit = "usd" | "tokens";

/** Times in seconds, what was used until then, and the limit (null where there is none). */
export interface Series {
  times: number[];
  used: (number | null)[];
  limit: number | null;
}

/** Dollars as far as prices are known; null where none is, which is not nothing. */
function knownCost(share: Share): number | null {
  return share.unpriced && !share.cost_usd ? null : share.cost_usd;
}

export function seriesOf(spending: Spending, unit: Unit): Series {
  const limit = (unit === "usd" ? spending.budget?.usd : spending.budget?.tokens) ?? null;
  const unknown = unit === "usd" && spending.total !== undefined && knownCost(spending.total) === null;
  return {
    times: spending.points.map(([at]) => Date.parse(at) / 1000),
    used: spending.points.map(([, usd, tokens]) => (unknown ? null : unit === "usd" ? usd : tokens)),
    // Far above what was used it would press the line flat: the sum beside it says "of $2.00" anyway.
    limit: limit && Math.max(0, ...spending.points.map(([, usd, tokens]) => (unit === "usd" ? (usd ?? 0) : tokens))) > limit / 5 ? limit : null
  };
}

export interface Line extends Share {
  name: string;
  /** Of all dollars where they are known, else of all tokens: 0 to 1. */
  part: number;
}

/** The dearest first. */
export function linesOf(shares: Readonly<Record<string, Share>>): Line[] {
  const all = Object.entries(shares);
  const known = all.every(([, share]) => share.cost_usd !== null && !share.unpriced) && all.some(([, share]) => share.cost_usd);
  const weight = (share: Share): number => (known ? (share.cost_usd ?? 0) : share.tokens);
  const sum = all.reduce((total, [, share]) => total + weight(share), 0);
  return all
    .map(([name, share]) => ({ name, ...share, cost_usd: knownCost(share), part: sum ? weight(share) / sum : 0 }))
    .sort((a, b) => b.part - a.part || a.name.localeCompare(b.name));
}
