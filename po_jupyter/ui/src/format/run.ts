/** Numbers and words as people read them. The same rules as the cell and the terminal. */

import type { Failure, Run, RunState, Task, TaskState, Usage } from "../api/types.js";
import { hasEnded } from "../api/types.js";

/** Never rounds money to zero: null is unknown, 0 is free, everything else shows that it is something. */
export function money(usd: number | null | undefined): string {
  if (usd === null || usd === undefined) {
    return "cost unknown";
  }
  if (usd === 0) {
    return "$0";
  }
  if (usd < 0.0001) {
    return "<$0.0001";
  }
  const digits = usd < 0.01 ? 4 : usd < 1 ? 3 : 2;
  return "$" + grouped(usd, digits);
}

export function tokens(usage: Usage): string {
  const count = usage.input_tokens + usage.output_tokens;
  return `${compact(count)} ${count === 1 ? "token" : "tokens"}`;
}

export function compact(count: number): string {
  if (count < 1000) {
    return String(count);
  }
  if (count < 999_950) {
    return trimmed(count / 1000) + "k";
  }
  return trimmed(count / 1_000_000) + "M";
}

/** A clock for something that goes on: 00:41, 1:02:03. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value: number): string => String(value).padStart(2, "0");
  const minutes = `${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return whole < 3600 ? minutes : `${Math.floor(whole / 3600)}:${minutes}`;
}

/** A length of time that is over: 12.1 s below a minute, else a clock. */
export function duration(seconds: number): string {
  return seconds < 60 ? `${Math.max(0, seconds).toFixed(1)} s` : clock(seconds);
}

/** "412/1000 rows · 3 failed · 16 in flight"; nothing is in flight once the task has ended. */
export function rows(task: Task): string {
  const items = task.items;
  if (!items) {
    return "";
  }
  const parts = [`${items.done + items.failed}/${items.total} rows`];
  if (items.failed) {
    parts.push(`${items.failed} failed`);
  }
  if (items.reused) {
    parts.push(`${items.reused} reused`);
  }
  if (items.in_flight && task.state === "running") {
    parts.push(`${items.in_flight} in flight`);
  }
  return parts.join(" · ");
}

/**
 * Ids sort by time, so their beginnings are alike for runs of one hour; their ends tell them apart.
 */
export function shortId(id: string): string {
  return id.slice(-6);
}

/** Seconds between the first start of a task (or the submission) and the end, or `now` (ms). */
export function elapsed(run: Run, now: number): number {
  const starts = run.tasks.flatMap(task => (task.started_at ? [Date.parse(task.started_at)] : []));
  const start = starts.length ? Math.min(...starts) : Date.parse(run.created_at);
  const end = hasEnded(run) ? Date.parse(run.updated_at) : now;
  return Math.max(0, (end - start) / 1000);
}

/** A task that was cut off by the end of its run has no end of its own. */
export function taskSeconds(run: Run, task: Task, now: number): number | null {
  if (!task.started_at) {
    return null;
  }
  const cut = hasEnded(run) ? Date.parse(run.updated_at) : now;
  const end = task.ended_at ? Date.parse(task.ended_at) : cut;
  return Math.max(0, (end - Date.parse(task.started_at)) / 1000);
}

/** How much of a run is behind us, 0 to 1: tasks weigh the same, a map counts by its rows. */
export function progress(run: Run): number {
  if (!run.tasks.length) {
    return 0;
  }
  const parts = run.tasks.map(task => {
    if (task.state === "done" || task.state === "skipped") {
      return 1;
    }
    return task.items?.total ? (task.items.done + task.items.failed) / task.items.total : 0;
  });
  return parts.reduce((sum, part) => sum + part, 0) / parts.length;
}

/** "task 2 of 3" while it goes on; afterwards how many were done. */
export function place(run: Run): string {
  const total = run.tasks.length;
  const word = total === 1 ? "task" : "tasks";
  if (run.state === "pending") {
    return `${total} ${word}`;
  }
  const finished = run.tasks.filter(task => task.state === "done" || task.state === "skipped").length;
  if (hasEnded(run) || run.state === "waiting") {
    return finished === total ? `${total} ${word}` : `${finished} of ${total} ${word}`;
  }
  const running = run.tasks.findIndex(task => task.state === "running");
  return `task ${Math.min(total, (running < 0 ? finished : running) + 1)} of ${total}`;
}

/** Rows of finished maps that failed: what "retry failed rows" would ask again. */
export function failedRows(run: Run): number {
  return run.tasks.reduce((sum, task) => sum + (task.items?.failed ?? 0), 0);
}

/** A map of which not one row succeeded, of all that it has. */
export function allRowsFailed(task: Task): boolean {
  return !!task.items && task.items.total > 0 && task.items.failed >= task.items.total;
}

/** The state whose sign and colour a task has: a map that is done without one good row looks failed. */
export function taskState(task: Task): TaskState {
  return task.state === "done" && allRowsFailed(task) ? "failed" : task.state;
}

/** The state whose sign and colour a run has: that of its tasks where it is done. */
export function runState(run: Run): RunState {
  return run.state === "done" && run.tasks.some(allRowsFailed) ? "failed" : run.state;
}

/** The lines of the person's own Python in a failure, or "". */
export function traceback(failure: Failure): string {
  const lines = failure.details?.traceback;
  return typeof lines === "string" ? lines.trimEnd() : "";
}

/** "3 of 12 calls from the cache". */
export function cached(usage: Usage): string {
  const calls = usage.calls + (usage.cached_calls ?? 0);
  return `${usage.cached_calls ?? 0} of ${calls} ${calls === 1 ? "call" : "calls"} from the cache`;
}

/** What was used, as one line: tokens, money and, when there is one, the limit. */
export function spent(run: Run): string {
  const parts = [tokens(run.usage), money(run.usage.cost)];
  if (run.budget.usd) {
    parts[1] += ` of ${money(run.budget.usd)}`;
  }
  if (run.usage.cached_calls) {
    parts.push(cached(run.usage));
  }
  if (run.usage.unknown) {
    parts.push(`${run.usage.unknown} ${run.usage.unknown === 1 ? "call" : "calls"} with unknown outcome`);
  }
  for (const warning of hasEnded(run) ? [] : (run.warnings ?? [])) {
    const names: Record<string, string> = { run: "the budget", day: "today's budget" };
    const whose = names[warning.scope] ?? `the budget of ${warning.scope}`;
    parts.push(`${Math.min(100, Math.floor(warning.fraction * 100))} % of ${whose} used`);
  }
  return parts.join(" · ");
}

/** The limit that a run is nearest to (or beyond), and a suggestion for a larger one. */
export function tightBudget(run: Run): { unit: "usd" | "tokens"; suggested: number } {
  const { usd, tokens } = run.budget;
  const share = (used: number, limit: number | null | undefined): number => (limit ? used / limit : -1);
  const ofMoney = share(run.usage.cost ?? 0, usd);
  const ofTokens = share(run.usage.input_tokens + run.usage.output_tokens, tokens);
  if (tokens && ofTokens > ofMoney) {
    return { unit: "tokens", suggested: tokens * 2 };
  }
  return { unit: "usd", suggested: (usd ?? run.usage.cost ?? 0) * 2 || 1 };
}

function grouped(value: number, digits: number): string {
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function trimmed(value: number): string {
  return value.toFixed(value < 10 ? 2 : 1).replace(/\.?0+$/, "");
}
