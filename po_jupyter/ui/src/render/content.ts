/** What a notebook keeps of a run, read with care: whoever wrote the file may have written anything into it. */

import type { BudgetWarning, Failure, Gate, Items, Run, RunState, Task, TaskState, Usage } from "../api/types.js";

export const RUN_MIME = "application/vnd.po-jupyter.run+json";
export const WIDGET_MIME = "application/vnd.jupyter.widget-view+json";

export interface RunContent {
  run: string;
  /** The run as of `at`; null where it cannot be read, as of a newer version. */
  view: Run | null;
  /** Tasks that are not in the view, by state. */
  hidden: Readonly<Record<string, number>>;
  /** The beginnings of a finished run's outputs: [label, text]. */
  results: ReadonlyArray<readonly [string, string]>;
  /** Milliseconds since 1970. */
  at: number;
}

/** `nothing` draws nothing: what an output adds for frontends that have no renderer of runs. */
export type Reading = { kind: "run"; content: RunContent } | { kind: "nothing" } | { kind: "unreadable" };

const ID = /^[\w-]{1,64}$/;
const RUN_STATES = ["pending", "running", "waiting", "done", "failed", "cancelled", "dead", "moved"] as const;
const TASK_KINDS = ["prompt", "embed", "python", "operator", "pipeline"] as const;
const TASK_STATES = ["pending", "running", "done", "failed", "skipped", "cancelled"] as const;
// What moves a cursor or reorders the text around it; the same as in `presentation/terminal_text.py`.
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

export function readContent(data: unknown): Reading {
  const content = record(data);
  if (!content || typeof content.run !== "string" || !ID.test(content.run)) {
    return { kind: "unreadable" };
  }
  if (content.version === 1 && content.view === null) {
    return { kind: "nothing" };
  }
  const at = Date.parse(String(content.at));
  return {
    kind: "run",
    content: {
      run: content.run,
      view: content.version === 1 ? readRun(content.view, content.run) : null,
      hidden: Object.fromEntries(Object.entries(record(content.hidden) ?? {}).map(([k, v]) => [plain(k), count(v)])),
      results: list(content.results).flatMap(pair => {
        const [label, text] = list(pair);
        return typeof label === "string" && typeof text === "string" ? [[plain(label), plain(text)] as const] : [];
      }),
      at: Number.isFinite(at) ? at : 0
    }
  };
}

/** The run in `value`, or null where there is none in it. */
function readRun(value: unknown, id: string): Run | null {
  const run = record(value);
  const state = run && one(RUN_STATES, run.state);
  if (!run || !state) {
    return null;
  }
  return {
    id,
    name: text(run.name),
    pipeline: text(run.pipeline),
    version: text(run.version),
    state: state as RunState,
    created_at: time(run.created_at) ?? new Date(0).toISOString(),
    updated_at: time(run.updated_at) ?? new Date(0).toISOString(),
    tasks: list(run.tasks).flatMap(task => readTask(task)),
    gate: readGate(run.gate),
    warnings: list(run.warnings).flatMap(readWarning),
    usage: readUsage(run.usage),
    budget: { usd: number(record(run.budget)?.usd), tokens: number(record(run.budget)?.tokens) },
    error: readFailure(run.error),
    position: number(run.position),
    waiting: optional(run.waiting),
    last_event: count(run.last_event),
    owner: "",
    parent: null
  };
}

function readTask(value: unknown): Task[] {
  const task = record(value);
  const state = task && one(TASK_STATES, task.state);
  if (!task || !state) {
    return [];
  }
  return [
    {
      name: text(task.name),
      state: state as TaskState,
      kind: one(TASK_KINDS, task.kind) ?? "prompt",
      stage: optional(task.stage),
      attempt: count(task.attempt),
      started_at: time(task.started_at),
      ended_at: time(task.ended_at),
      usage: readUsage(task.usage),
      error: readFailure(task.error),
      items: readItems(task.items),
      waiting: optional(task.waiting),
      reason: optional(task.reason),
      cascade: readCascade(task.cascade),
      shards: []
    }
  ];
}

function readCascade(value: unknown): Task["cascade"] {
  const cascade = record(value);
  const interval = list(cascade?.interval).map(end => number(end) ?? 0);
  return (
    cascade && {
      threshold: number(cascade.threshold),
      model: text(cascade.model),
      sampled: count(cascade.sampled),
      sure: count(cascade.sure),
      agreeing: count(cascade.agreeing),
      interval: interval.length === 2 ? interval : null
    }
  );
}

function readUsage(value: unknown): Usage {
  const usage = record(value) ?? {};
  return {
    input_tokens: count(usage.input_tokens),
    output_tokens: count(usage.output_tokens),
    cost: number(usage.cost),
    calls: count(usage.calls),
    cached_calls: count(usage.cached_calls),
    unknown: count(usage.unknown)
  } as Usage;
}

function readItems(value: unknown): Items | null {
  const items = record(value);
  return (
    items && {
      total: count(items.total),
      done: count(items.done),
      failed: count(items.failed),
      in_flight: count(items.in_flight),
      reused: count(items.reused),
      kept: number(items.kept),
      made: number(items.made),
      of: number(items.of),
      alone: number(items.alone)
    }
  );
}

function readGate(value: unknown): Gate | null {
  const gate = record(value);
  const artifacts = list(gate?.artifacts).map(text);
  return gate && { task: text(gate.task), ...(gate.run ? { run: text(gate.run) } : {}), message: text(gate.message), artifacts };
}

function readWarning(value: unknown): BudgetWarning[] {
  const warning = record(value);
  return warning ? [{ scope: text(warning.scope), fraction: number(warning.fraction) ?? 0 } as BudgetWarning] : [];
}

function readFailure(value: unknown): Failure | null {
  const error = record(value);
  const traceback = optional(record(error?.details)?.traceback);
  return (
    error && {
      code: text(error.code),
      message: text(error.message),
      hint: text(error.hint),
      details: traceback ? { traceback } : {}
    }
  );
}

/** All texts of a value without what a page would obey: marks that reorder text, commands of a terminal. */
export function cleaned<T>(value: T): T {
  if (typeof value === "string") {
    return plain(value) as T;
  }
  if (Array.isArray(value)) {
    return value.map(cleaned) as T;
  }
  const object = record(value);
  return object ? (Object.fromEntries(Object.entries(object).map(([k, v]) => [k, cleaned(v)])) as T) : value;
}

function plain(value: string): string {
  return value.replace(/\r\n/g, "\n").replace(CONTROL, "\ufffd");
}

function record(value: unknown): Record<string, unknown> | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null;
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string {
  return typeof value === "string" ? plain(value) : "";
}

function optional(value: unknown): string | null {
  return text(value) || null;
}

function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function count(value: unknown): number {
  return Math.max(0, number(value) ?? 0);
}

function time(value: unknown): string | null {
  return typeof value === "string" && Number.isFinite(Date.parse(value)) ? value : null;
}

function one<T extends string>(words: readonly T[], value: unknown): T | undefined {
  return words.find(word => word === value);
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** "22:14, Nov 26", in the reader's time zone; with the year where it is another one than now. */
export function moment(at: number, now: number): string {
  const day = new Date(at);
  const two = (value: number): string => String(value).padStart(2, "0");
  const year = day.getFullYear() === new Date(now).getFullYear() ? "" : `, ${day.getFullYear()}`;
  return `${two(day.getHours())}:${two(day.getMinutes())}, ${MONTHS[day.getMonth()]} ${day.getDate()}${year}`;
}
