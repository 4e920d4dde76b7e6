/** Answers whose shape the OpenAPI document leaves open. */

import type { Failure, RunState, Usage } from "./types.js";

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
  kind: "prompt" | "python";
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

export interface DailyUsage {
  days: DayUsage[];
  total: Usage & { unpriced: number };
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

export interface DeadLetter {
  id: string;
  name: string;
  pipeline: string;
  error: Failure | null;
  updated_at: string;
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
  limits: { running: number; rates: Record<string, unknown> };
  runs: { running: number; queued: number };
}

export interface CleanReport {
  runs: unknown[];
  bytes: number;
  dry_run: boolean;
  more: boolean;
}
