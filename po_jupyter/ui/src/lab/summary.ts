/** The runs in a few words, for the status bar: `2 running · 1 waits · $1.20 today`. */

import type { TranslationBundle } from "@jupyterlab/translation";
import type { Run } from "../api/types.js";
import type { DailyUsage, OfLimit } from "../api/answers.js";
import { money } from "../format/money.js";
import { needOf } from "../state/selectors.js";

export interface Counts {
  running: number;
  waiting: number;
}

/** Runs that go on, and those that wait for a person. */
export function counts(runs: Iterable<Run>): Counts {
  let [running, waiting] = [0, 0];
  for (const run of runs) {
    const need = needOf(run);
    if (need === "gate" || need === "disk") {
      waiting++;
    } else if (run.state === "running" || run.state === "pending") {
      running++;
    }
  }
  return { running, waiting };
}

/** What today cost in USD, beside its limit: on a hub as its gateway counts it, shared runs among it. */
export function spentToday(usage: Pick<DailyUsage, "total" | "today">): OfLimit {
  return usage.today?.usd ?? { used: usage.total.cost ?? 0, limit: null };
}

/** `today` is null while that is not known. */
export function summary({ running, waiting }: Counts, today: OfLimit | null, trans: TranslationBundle): string {
  const parts: string[] = [];
  if (running) {
    parts.push(trans._n("%1 running", "%1 running", running));
  }
  if (waiting) {
    parts.push(trans._n("%1 waits", "%1 wait", waiting));
  }
  if (today?.limit != null) {
    parts.push(trans.__("%1 of %2 today", money(today.used), money(today.limit)));
  } else if (today?.used) {
    parts.push(trans.__("%1 today", money(today.used)));
  }
  return parts.join(" · ") || trans.__("No runs");
}
