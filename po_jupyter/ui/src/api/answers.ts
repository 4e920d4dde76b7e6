/** Answers whose shape the OpenAPI document leaves open. */

import type { Failure, RunState, Task, Usage } from "./types.js";

export interface Row {
  index: number;
  ok: boolean;
  output: unknown;
  error: Failure | null;
  label?: string;
}

export interface PipelineSummary {
  name: string;
  version: string;
  revision: string;
  updated_at: string;
  tasks: string[];
  description?: string;
}

/** `expected` and `worst` are null where a price is not known. */
export interface CostRange {
  expected: number | null;
  worst: number | null;
}

export interface TaskEstimate {
  name: string;
  kind: Task["kind"];
  model: string | null;
  rows: number | null;
  /** Null: not known before it runs. */
  calls: number | null;
  calls_max: number | null;
  input_tokens: number | null;
  output_tokens_max: number | null;
  cost: CostRange;
  mode?: string | null;
}

/** A task before it runs; `stages` is null for a module, which is read when it runs. */
export interface TaskAnalysis {
  name: string;
  kind: Task["kind"];
  needs: string[];
  for_each: string | null;
  stages: string[] | null;
  tools: string[];
  artifacts: string[];
  /** What it leaves, in a line; of each row for a map. */
  shape: string;
  gate: boolean;
}

/** What a pipeline does and leaves, and what its seed looks like. */
export interface Analysis {
  tasks: TaskAnalysis[];
  seed: { schema: Record<string, unknown>; shape: string } | null;
}

export interface Estimate {
  pipeline: string;
  calls: number;
  input_tokens: number;
  output_tokens_max: number;
  cost: CostRange;
  tasks: TaskEstimate[];
  /** What the numbers leave out. */
  unknown: string[];
  /** What has to be done before it can run. */
  warnings?: string[];
  analysis?: Analysis;
}

export interface Model {
  ref: string;
  provider: string;
  usable: boolean;
  why: string;
}

export interface DayUsage extends Usage {
  day: string;
  unpriced: number;
  by_model: Record<string, Usage & { unpriced: number }>;
}

/** What a day used of one kind; a limit of null is none. */
export interface OfLimit {
  used: number;
  limit: number | null;
}

export interface DailyUsage {
  days: DayUsage[];
  total: Usage & { unpriced: number };
  by_pipeline?: Record<string, Usage & { unpriced: number }>;
  /** Today (UTC) beside the limits of a day. */
  today?: { usd: OfLimit; tokens: OfLimit };
  /** The gateway of a hub, where there is one: `problem` is why nothing newer is known of it. */
  hub?: { user: string; problem: string };
  disk: {
    runs: { bytes: number; states: Partial<Record<RunState, { runs: number; bytes: number }>> };
    store: number;
    files: number;
    blobs: number;
    cache: number;
    logs: number;
    free: number;
  };
}

/** What became of a slot; `state` is that of its run. */
export interface SlotOutcome {
  slot: string;
  outcome: "run" | "missed" | "overlap" | "refused" | "nothing";
  run?: string;
  state: string | null;
  note?: string;
  count?: number;
}

/** A pipeline that runs by the clock; `next_at` is null while it is paused. */
export interface Schedule {
  id: string;
  pipeline: string;
  cron: string;
  timezone: string;
  state: "active" | "paused";
  reason: string | null;
  next_at: string | null;
  last: SlotOutcome | null;
}

export interface DeadLetter {
  id: string;
  name: string;
  pipeline: string;
  version: string;
  died_at: string;
  /** Where it was: null when it had not begun. */
  task: string | null;
  stage: string | null;
  attempt: number | null;
  error: Failure | null;
  /** The end of the worker's log. */
  log: string;
  crashes: number;
  tasks: { total: number; done: number };
}

/** Calls of one run to one model that wait for a rate limit; `seconds` until the next may go, where that is known. */
export interface CallWait {
  run: string;
  name: string;
  model: string;
  calls: number;
  seconds: number | null;
  waited: number;
  reason: string;
}

export interface Waits {
  calls: CallWait[];
  store: { run: string; name: string; reason: string }[];
  queue: { run: string; name: string; position: number }[];
  /** Runs of other people that wait. */
  others: number;
  rates: Record<string, Record<string, number>> | null;
}

export interface AuditEntry {
  at: string;
  by: string;
  action: string;
  [detail: string]: unknown;
}

export interface Meta {
  version: string;
  user: { name: string | null };
  orchestrator: { holder: boolean; pid: number | null; since: string | null };
  data_dir: string;
  limits: { running: number; rates: Record<string, unknown> | null };
  runs: { running: number; queued: number };
  /** The hub whose user's server this is, or whose gateway it uses. */
  hub?: { gateway: string | null; stops_servers: boolean; shared_runs?: boolean } | null;
}

export interface CleanReport {
  runs: unknown[];
  bytes: number;
  dry_run: boolean;
  more: boolean;
}
