/** What the routes of one run answer with, besides the run itself. */

import type { Failure } from "../../api/types.js";

export interface Row {
  index: number;
  state: string;
  input: unknown;
  output: unknown;
  error: Failure | null;
  attempts: number;
  tokens: number;
  /** USD; null when the price of the model is not known. */
  cost_usd: number | null;
  seconds: number | null;
  model: string | null;
  flags?: string[];
  /** Where its task has some. */
  variant?: string;
  scores?: RowScores;
  /** `input` or `output` is only the beginning. */
  clipped?: boolean;
}

/** How good an answer is: 1 is right; null where it could not be told, and `notes` say why. */
export interface RowScores {
  values: Record<string, number | null>;
  notes?: Record<string, string>;
}

/** What the scores of these names expect of a row; `problem`: why nobody knows it. */
export interface ExpectedAnswer {
  scores: string[];
  value: unknown;
  problem: string | null;
}

export interface RowPage {
  rows: Row[];
  /** Rows of the map, and those of them that the question is about. */
  total: number;
  matching: number;
  next: number | null;
  /** Not all rows are looked at yet: asked again, it goes on. */
  complete: boolean;
  /** Names of those of the task. */
  variants?: string[];
  scores?: string[];
}

export const SORTS = ["index", "state", "output", "attempts", "tokens", "cost_usd", "seconds"] as const;
export type Sort = (typeof SORTS)[number];

export interface RowQuery {
  task: string;
  state: "" | "done" | "failed";
  /** Empty: all of them. */
  variant: string;
  q: string;
  sort: Sort;
  desc: boolean;
}

export interface ComparedRow {
  change: "changed" | "only_a" | "only_b" | "failed" | "open" | "same";
  /** Their inputs are the same; else they are joined by their place. */
  by_input: boolean;
  a: Row | null;
  b: Row | null;
}

export interface ComparedSide {
  run: string;
  rows: number;
  done: number;
  failed: number;
  tokens: number;
  cost_usd: number | null;
  seconds: number;
  models: string[];
}

/** A score that both runs have; `p` is of McNemar's test, null where the score is not right or wrong. */
export interface PairedScore {
  name: string;
  a: { mean: number | null; interval: number[] | null };
  b: { mean: number | null; interval: number[] | null };
  rows: number;
  a_only: number | null;
  b_only: number | null;
  p: number | null;
}

export interface ComparisonSummary extends Record<ComparedRow["change"], number> {
  agreement: number | null;
  by_index: number;
  a: ComparedSide;
  b: ComparedSide;
  scores?: PairedScore[];
}

export interface ComparisonPage {
  rows: ComparedRow[];
  summary: ComparisonSummary;
  matching: number;
  next: number | null;
  /** Not all rows are read yet: asked again, it goes on. */
  complete: boolean;
}

export interface Call {
  n: number;
  key: string;
  task: string | null;
  row: number | null;
  attempt: number | null;
  /** Counts refinements. */
  round?: number | null;
  /** The stage: inference, critique, ... */
  kind: string;
  state: string;
  model: string | null;
  started_at: string | null;
  seconds: number | null;
  input_tokens: number | null;
  cached_tokens: number | null;
  output_tokens: number | null;
  reasoning_tokens: number | null;
  cost_usd: number | null;
  /** The answer of an earlier run: nothing was sent. */
  cached: boolean;
  batch?: string | null | boolean;
  finish: string | null;
  /** How often it was sent until there was an answer. */
  tries?: number | null;
}

export interface Message {
  role: string;
  content: unknown;
  tool_calls?: unknown;
}

export interface WholeCall extends Omit<Call, "error"> {
  messages: Message[] | null;
  /** Why there are no messages. */
  why?: string | null;
  /** They are not recorded: they were made again from what is; `exact` when they are what was sent for sure. */
  rendered?: boolean;
  exact?: boolean;
  answer: unknown;
  schema: unknown;
  error: Failure | string | null;
}

export interface CallPage {
  calls: Call[];
  next: number | null;
  total: number;
}

export interface CallQuery {
  task: string;
  row: number | null;
  state: string;
}

/** A stage of an attempt of a task; stage null: before its first one, or a wait at a gate. Times are ISO 8601 UTC. */
export interface Span {
  task: string;
  stage: string | null;
  attempt: number;
  state: string;
  started_at: string;
  ended_at: string | null;
  /** Seconds that it waited in between, as far as they were announced, and for what. */
  wait: number;
  reason: string | null;
  /** Of a map: done, failed, total. */
  rows?: number[];
}

export interface Share {
  cost_usd: number | null;
  tokens: number;
  calls?: number;
  /** Calls whose price is not known: they are not in the dollars. */
  unpriced?: number;
}

export interface Spending {
  /** Time, dollars so far, tokens so far. */
  points: [string, number | null, number][];
  total?: Share;
  by_task: Record<string, Share>;
  by_model: Record<string, Share>;
  budget: { usd?: number | null; tokens?: number | null } | null;
}

export interface StageLog {
  task: string | null;
  stage: string | null;
  name: string;
  bytes: number;
  text: string;
  cut: boolean;
}

export interface Artifact {
  name: string;
  task: string | null;
  bytes: number;
  sha256: string | null;
}

export interface PipelineView {
  pipeline: Definition;
  /** For each task the tasks that it waits for. */
  needs: Record<string, string[]>;
}

export interface Definition {
  name: string;
  llm?: Record<string, unknown>;
  tasks: (Record<string, unknown> & { name: string })[];
  [field: string]: unknown;
}
