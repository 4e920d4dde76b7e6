/** What is said about a run: the words of `po_jupyter.presentation.format`, which the golden cases hold to it. */

import type { Budget, Failure, Items, LearnedCascade, Run, RunState, Task, TaskState, Usage } from "../api/types.js";
import { hasEnded } from "../api/types.js";
import { language, stateName } from "./language.js";
import { money, tokens } from "./money.js";
import { grouped, rounded } from "./numbers.js";
import { duration, elapsed, secondsBetween } from "./time.js";

const ICONS: Record<RunState | TaskState, string> = {
  pending: "○",
  running: "▸",
  waiting: "‖",
  done: "✓",
  failed: "✗",
  cancelled: "⊘",
  skipped: "↷",
  dead: "✗",
  moved: "↗"
};

/** One character for the state of a run or a task. */
export function stateIcon(state: string): string {
  return ICONS[state as RunState] ?? "·";
}

/** A map of which not one row succeeded, of all that it has. */
export function allRowsFailed(task: Task): boolean {
  return !!task.items && task.items.total > 0 && task.items.failed >= task.items.total;
}

/** The state whose sign and colour a task has: a map that is done without one good row looks failed. */
export function shownTaskState(task: Task): TaskState {
  return task.state === "done" && allRowsFailed(task) ? "failed" : task.state;
}

/** The state whose sign and colour a run has: that of its tasks where it is done. */
export function shownRunState(run: Run): RunState {
  return run.state === "done" && run.tasks.some(allRowsFailed) ? "failed" : run.state;
}

/** `41 %`. Only the whole is 100 %, and only nothing is 0 %. */
export function percent(fraction: number): string {
  if (fraction <= 0) {
    return "0 %";
  }
  return fraction >= 1 ? "100 %" : `${Math.min(99, Math.max(1, rounded(fraction * 100)))} %`;
}

/** `["18.2k tokens", "$0.043 of $2.00"]`; nothing where no model was asked. */
export function usageParts(usage: Usage, budgetUsd?: number | null): string[] {
  const { trans } = language;
  const parts: string[] = [];
  const used = usage.input_tokens + usage.output_tokens;
  const cached = usage.cached_calls ?? 0;
  if (used) {
    parts.push(trans._n("%2 token", "%2 tokens", used, tokens(used)));
  }
  if (usage.calls || used || usage.cost || cached) {
    parts.push(budgetUsd ? trans.__("%1 of %2", money(usage.cost), money(budgetUsd)) : money(usage.cost));
  }
  if (cached) {
    const all = usage.calls + cached;
    parts.push(
      trans._n("%2 of %3 call from the cache", "%2 of %3 calls from the cache", all, grouped(cached), grouped(all))
    );
  }
  if (usage.unknown) {
    parts.push(trans._n("%1 call of unknown outcome", "%1 calls of unknown outcome", usage.unknown));
  }
  return parts;
}

/**
 * `["82 % of the budget used"]`: budgets that are nearly spent, of a run that may spend more; with calls of unknown
 * outcome, which stay reserved, `used or reserved`.
 */
export function budgetWarnings(run: Run): string[] {
  if (hasEnded(run)) {
    return [];
  }
  const { trans } = language;
  return (run.warnings ?? []).map(({ scope, fraction }) => {
    const share = percent(Math.min(fraction, 1));
    const lost = run.usage.unknown > 0;
    switch (scope) {
      case "run":
        return lost ? trans.__("%1 of the budget used or reserved", share) : trans.__("%1 of the budget used", share);
      case "day":
        return lost ? trans.__("%1 of today's budget used or reserved", share) : trans.__("%1 of today's budget used", share);
      default:
        return lost
          ? trans.__("%1 of the budget of %2 used or reserved", share, scope)
          : trans.__("%1 of the budget of %2 used", share, scope);
    }
  });
}

/**
 * `412/1000 rows · 3 failed · 300 reused · 16 in flight`; done and failed both count as finished rows. Nothing is in
 * flight of a task that is not running, whatever its last count was.
 */
export function rowCounts(items: Items, running = true): string {
  const { trans } = language;
  const parts = [trans.__("%1/%2 rows", items.done + items.failed, items.total)];
  if (items.failed) {
    parts.push(trans.__("%1 failed", items.failed));
  }
  if (items.reused) {
    parts.push(trans.__("%1 reused", items.reused));
  }
  if (items.in_flight && running) {
    parts.push(trans.__("%1 in flight", items.in_flight));
  }
  if (typeof items.alone === "number") {
    parts.push(trans.__("%1 by the first model alone", items.alone));
  }
  if (typeof items.kept === "number") {
    parts.push(trans.__("kept %1 of %2", items.kept, items.of ?? items.total));
  }
  if (typeof items.made === "number") {
    parts.push(trans.__("made %1 of %2", items.made, items.of ?? items.total));
  }
  return parts.join(" · ");
}

/** The finished fraction of a map's rows, null for a task without rows. */
export function progress(items: Items | null): number | null {
  if (!items) {
    return null;
  }
  return items.total ? (items.done + items.failed) / items.total : 1;
}

/** How much of a run is behind us, 0 to 1: tasks weigh the same, a map counts by its rows. */
export function runProgress(run: Run): number {
  const parts: number[] = run.tasks.map(task => {
    if (task.state === "done" || task.state === "skipped") {
      return 1;
    }
    return task.items?.total ? (task.items.done + task.items.failed) / task.items.total : 0;
  });
  return parts.length ? parts.reduce((sum, part) => sum + part, 0) / parts.length : 0;
}

/** The parts of the first line: pipeline, run, state, tasks, clock, tokens, money. `now` in seconds since 1970. */
export function headline(run: Run, now: number): string[] {
  const seconds = runSeconds(run, now);
  return [
    `${run.pipeline} ${run.version}`,
    runWord(run),
    stateWords(run),
    ...place(run),
    ...(seconds === null ? [] : [duration(seconds)]),
    ...usageParts(run.usage, run.budget.usd),
    ...budgetWarnings(run)
  ];
}

/** `run 7f3a9c`. */
export function runWord(run: { id: string }): string {
  return language.trans.__("run %1", shortId(run.id));
}

/** `row 12`. */
export function rowWord(index: number): string {
  return language.trans.__("row %1", index);
}

/** `["task 2 of 3"]` while one runs, else how many are done; nothing without tasks. */
export function place(run: Run): string[] {
  const { trans } = language;
  const total = run.tasks.length;
  const running = run.tasks.flatMap((task, index) => (task.state === "running" ? [index + 1] : []));
  if (run.state === "running" && running.length === 1) {
    return [trans.__("task %1 of %2", running[0]!, total)];
  }
  const finished = run.tasks.filter(task => task.state === "done" || task.state === "skipped").length;
  return total ? [trans._n("%2 of %1 task done", "%2 of %1 tasks done", total, finished)] : [];
}

/** Whose a shared run is, and who did what with it last; where a run is that has moved; nothing for one of one's own. */
export function placeOf(run: Run): string {
  const { trans } = language;
  if (run.state === "moved") {
    return run.moved?.group ? trans.__("now a shared run of %1", run.moved.group) : trans.__("now a shared run");
  }
  if (!run.may) {
    return "";
  }
  const last = [...(run.acts ?? [])].sort((a, b) => ((a.at ?? "") < (b.at ?? "") ? -1 : 1)).at(-1);
  const parts = [trans.__("shared · %1", run.owner.replace(/^group:/, ""))];
  if (last?.act && last.by && last.by !== run.owner) {
    parts.push(trans.__("%1 by %2", actName(last.act), last.by));
  }
  return parts.join(" · ");
}

function actName(act: string): string {
  const { trans } = language;
  const names: Record<string, string> = {
    started: trans.__("started"),
    resumed: trans.__("resumed"),
    cancelled: trans.__("cancelled"),
    approved: trans.__("approved"),
    rejected: trans.__("rejected"),
    moved: trans.__("moved here")
  };
  return names[act] ?? act;
}

/** Seconds from the submission to the end, or to `now`. */
export function runSeconds(run: Run, now: number): number | null {
  return secondsBetween(run.created_at, hasEnded(run) ? run.updated_at : null, now);
}

/** The state with what it waits for. */
export function stateWords(run: Run): string {
  const { trans } = language;
  if (run.state === "waiting" && run.gate) {
    return trans.__("waiting for a decision");
  }
  if (run.state === "pending" && run.position) {
    return trans.__("queued, number %1", run.position);
  }
  const state = stateName(run.state);
  return run.waiting && !hasEnded(run) ? trans.__("%1, waits for the store", state) : state;
}

/** The row of a task in a view. `doing` is the stage while it runs, else the state. */
export interface TaskLine {
  icon: string;
  name: string;
  doing: string;
  details: string[];
  progress: number | null;
  /** The reason of a wait or a skip, or "". */
  note: string;
  /** As `learnedThreshold`. */
  learned: string;
}

export function taskLine(task: Task, now: number): TaskLine {
  const running = task.state === "running";
  const details = task.items ? [rowCounts(task.items, running)] : [];
  const seconds = secondsBetween(task.started_at, running ? null : task.ended_at, now);
  if (seconds !== null && (running || task.ended_at)) {
    details.push(running ? duration(seconds) : elapsed(seconds));
  }
  if (task.attempt > 1) {
    details.push(language.trans.__("attempt %1", task.attempt));
  }
  details.push(...usageParts(task.usage));
  if (task.kind === "python") {
    details.push("python");
  }
  const waits = running || task.state === "pending" ? (task.waiting ?? "") : "";
  return {
    icon: stateIcon(shownTaskState(task)),
    name: task.name,
    doing: (running && task.stage) || stateName(task.state),
    details,
    progress: running ? progress(task.items) : null,
    note: task.state === "skipped" ? (task.reason ?? "") : waits,
    learned: learnedThreshold(task)
  };
}

/**
 * `threshold 0.83 learned from 200 rows: 96 % agree with MODEL (95 % interval: 93 % to 98 %)`; "" where no cascade learned
 * one.
 */
export function learnedThreshold(task: Task): string {
  if (!task.cascade) {
    return "";
  }
  const { trans } = language;
  const { threshold, sampled, sure, agreeing, model, interval } = task.cascade as unknown as LearnedCascade;
  const rows = trans._n("%1 row", "%1 rows", sampled, sampled);
  if (!interval) {
    return trans.__("no threshold learned from %1: %2 answers every row", rows, model);
  }
  const seen = [percent(agreeing / sure), model, percent(interval[0]), percent(interval[1])];
  if (threshold === null) {
    return trans.__(
      "no threshold learned from %1: %2 agree with %3 (95 % interval: %4 to %5), which answers every row",
      rows,
      ...seen
    );
  }
  const number = String(Number(threshold.toPrecision(3)));
  return trans.__("threshold %1 learned from %2: %3 agree with %4 (95 % interval: %5 to %6)", number, rows, ...seen);
}

/** A problem of a run, with its place; `hint` and `traceback` may be "". */
export interface RunProblem {
  text: string;
  hint: string;
  traceback: string;
}

/** One for each failed task, one for each map with failed rows, one for a run that failed as a whole. */
export function problems(run: Run): RunProblem[] {
  const { trans } = language;
  const found: RunProblem[] = [];
  const messages: string[] = [];
  if (run.waiting && !hasEnded(run)) {
    found.push({ text: run.waiting, hint: "", traceback: "" });
  }
  for (const task of run.tasks) {
    const byRows = task.state === "failed" && task.error?.code === "failure_threshold";
    if (task.items?.failed && !byRows) {
      const { failed, total } = task.items;
      const text =
        task.state === "done"
          ? trans.__("%1 failed on %2 of %3 rows; the run went on", task.name, failed, total)
          : trans.__("%1 failed on %2 of %3 rows", task.name, failed, total);
      found.push({ text, hint: "", traceback: "" });
    }
    if (task.error && ["failed", "pending", "running"].includes(task.state)) {
      const { message } = task.error;
      messages.push(message);
      found.push(problem(failureText(task, message), task.error));
    }
  }
  const message = run.error?.message;
  if (run.error && message && !messages.some(each => each.includes(message) || message.includes(each))) {
    found.push(problem(message, run.error));
  }
  return found;
}

function failureText(task: Task, message: string): string {
  const { trans } = language;
  if (task.state !== "failed") {
    return trans.__("%1 attempt %2 failed: %3", task.name, Math.max(1, task.attempt - 1), message);
  }
  return task.stage
    ? trans.__("%1 failed in %2: %3", task.name, task.stage, message)
    : trans.__("%1 failed: %2", task.name, message);
}

function problem(text: string, error: Failure): RunProblem {
  return { text, hint: error.hint ?? "", traceback: userTraceback(error) };
}

/** The lines of the person's own Python in an error, or "". */
export function userTraceback(error: Failure): string {
  const lines = error.details?.traceback;
  return typeof lines === "string" ? lines.trimEnd() : "";
}

/** The part of an id that people see. Ids sort by time: their beginnings are alike, their ends tell them apart. */
export function shortId(id: string): string {
  return id.slice(-6);
}

/** Rows of maps that failed: what "retry failed rows" would ask again. */
export function failedRows(run: Run): number {
  return run.tasks.reduce((sum, task) => sum + (task.items?.failed ?? 0), 0);
}

/** Whether a limit of its own ended a run. That of a hub is its admin's, and no larger one of the run's raises it. */
export function needsMoreBudget(run: Pick<Run, "error">): boolean {
  return run.error?.code === "budget_exceeded" && run.error.details?.scope !== "hub";
}

/** The limit that a run is nearest to (or beyond), and a suggestion for a larger one. */
export function tightBudget(run: { usage: Usage; budget: Budget }): { unit: "usd" | "tokens"; suggested: number } {
  const { usd, tokens } = run.budget;
  const share = (used: number, limit: number | null | undefined): number => (limit ? used / limit : -1);
  const ofMoney = share(run.usage.cost ?? 0, usd);
  const ofTokens = share(run.usage.input_tokens + run.usage.output_tokens, tokens);
  if (tokens && ofTokens > ofMoney) {
    return { unit: "tokens", suggested: tokens * 2 };
  }
  return { unit: "usd", suggested: (usd ?? run.usage.cost ?? 0) * 2 || 1 };
}

/** Whether a task of that kind asks a model by itself; Python may too, and says so in its calls. */
export function asksModel(kind: Task["kind"]): boolean {
  return kind === "prompt" || kind === "embed";
}
