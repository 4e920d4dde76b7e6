/** When the rows of a map will be done, with its spread. Pure. */

import { hasEnded } from "../../api/types.js";
import type { Run, Task } from "../../api/types.js";
import { timestamp } from "../../format/time.js";

export interface Eta {
  task: string;
  /** Seconds: with two thirds of probability it is between them. */
  low: number;
  high: number;
}

/** Fewer finished rows than these say nothing about the others. */
const ENOUGH = 5;

/**
 * The time that the rest of the slowest running map takes at its pace so far. Null when no map runs, or when too
 * few of its rows are done. Rows that were reused cost no time and are not counted. The spread is that of a count
 * of `n` events: one part in the root of `n`. `now` in seconds since 1970.
 */
export function eta(run: Run, now: number): Eta | null {
  if (hasEnded(run)) {
    return null;
  }
  const all = run.tasks.flatMap(task => etaOfTask(task, now) ?? []);
  return all.reduce<Eta | null>((slowest, one) => (slowest && slowest.high >= one.high ? slowest : one), null);
}

function etaOfTask(task: Task, now: number): Eta | null {
  if (task.state !== "running" || !task.items || !task.started_at) {
    return null;
  }
  const { total, done, failed, reused } = task.items;
  const asked = done + failed - (reused ?? 0);
  const left = total - done - failed;
  const seconds = now - timestamp(task.started_at);
  if (asked < ENOUGH || left <= 0 || seconds <= 0) {
    return null;
  }
  const likely = (left * seconds) / asked;
  const spread = 1 / Math.sqrt(asked);
  return { task: task.name, low: likely / (1 + spread), high: likely * (1 + spread) };
}

/** "about 3 min", "3 to 5 min", "under a minute". */
export function etaText({ low, high }: Pick<Eta, "low" | "high">): string {
  if (high < 60) {
    return "under a minute";
  }
  const [unit, word] = high < 5400 ? [60, "min"] : high < 172_800 ? [3600, "h"] : [86_400, "days"];
  const from = Math.max(1, Math.round(low / unit));
  const to = Math.max(1, Math.round(high / unit));
  return from === to ? `about ${to} ${word}` : `${from} to ${to} ${word}`;
}
