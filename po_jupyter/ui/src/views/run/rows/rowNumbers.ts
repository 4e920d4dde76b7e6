/** What a row took, as its columns have it. Pure. */

import { count, dollars, seconds } from "../parts.js";
import type { Row } from "../shapes.js";

/** Of a row without an outcome only what is more than nothing: it was not asked yet, or has not answered. */
export function numbersOf(row: Row): { attempts: string; tokens: string; cost: string; seconds: string } {
  const ended = row.state === "done" || row.state === "failed";
  const known = <T>(value: T): T | null => (ended || value ? value : null);
  return {
    attempts: count(known(row.attempts)),
    tokens: count(known(row.tokens)),
    cost: dollars(known(row.cost_usd)),
    seconds: seconds(known(row.seconds))
  };
}
