/** When the rows of a map will be done, with its spread. Pure. */

import { hasEnded } from "../../api/types.js";
import type { Run, Task } from "../../api/types.js";
import { timestamp } from "../../format/time.js";
import { language } from "../../format/language.js";

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
  const { trans } = language;
  if (high < 60) {
    return trans.__("under a minute");
  }
  const span = (unit: number): [number, number] => [low, high].map(each => Math.max(1, Math.round(each / unit))) as [number, number];
  if (high < 5400) {
    const [from, to] = span(60);
    return from === to ? trans.__("about %1 min", to) : trans.__("%1 to %2 min", from, to);
  }
  if (high < 172_800) {
    const [from, to] = span(3600);
    return from === to ? trans.__("about %1 h", to) : trans.__("%1 to %2 h", from, to);
  }
  const [from, to] = span(86_400);
  return from === to ? trans._n("about %1 day", "about %1 days", to) : trans.__("%1 to %2 days", from, to);
}
