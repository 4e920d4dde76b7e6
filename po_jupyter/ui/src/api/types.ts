/** The shapes that the server answers with: `po_jupyter.model.run.RunView` as JSON. */

export type RunState = "pending" | "running" | "waiting" | "done" | "failed" | "cancelled" | "dead";
export type TaskState = "pending" | "running" | "done" | "failed" | "skipped" | "cancelled";

export interface Usage {
  input_tokens: number;
  output_tokens: number;
  /** USD; null when the price of a model is not known. */
  cost: number | null;
  calls: number;
  /** Calls that were answered from the cache, besides `calls`: they cost nothing. */
  cached_calls?: number;
  /** Calls whose outcome was lost in a crash: the provider may have billed them. */
  unknown: number;
}

export interface Failure {
  code: string;
  message: string;
  hint?: string;
  /** `traceback` has the lines of the person's own Python that raised it. */
  details?: { traceback?: unknown; violations?: Violation[] };
}

/** A mistake in an input: `where` is a path in it, line and column count from 1 in its text. */
export interface Violation {
  where: string;
  message: string;
  line?: number | null;
  column?: number | null;
}

/** What may stand at the cursor of a pipeline's YAML; `typed` is the text before it that one replaces. */
export interface Suggestions {
  typed: string;
  suggestions: { text: string; label: string; kind: string; detail: string; documentation: string }[];
}

/** What a key means; `before` and `after` are its characters on both sides of the place that was asked for. */
export interface KeyHelp {
  before: number;
  after: number;
  title: string;
  documentation: string;
}

export interface Items {
  total: number;
  done: number;
  failed: number;
  in_flight: number;
  reused?: number;
}

export interface Task {
  name: string;
  state: TaskState;
  kind: "prompt" | "python";
  stage: string | null;
  attempt: number;
  started_at: string | null;
  ended_at: string | null;
  usage: Usage;
  error: Failure | null;
  items: Items | null;
  waiting: string | null;
  /** Why it was skipped. */
  reason?: string | null;
}

export interface Gate {
  task?: string;
  message?: string;
  artifacts?: string[];
  decision?: string | null;
}

/** A budget of which 80 % are used; `scope` is `run`, `day` or a task's name. */
export interface BudgetWarning {
  scope: string;
  fraction: number;
}

export interface Run {
  id: string;
  name: string;
  pipeline: string;
  version: string;
  state: RunState;
  created_at: string;
  updated_at: string;
  tasks: Task[];
  gate: Gate | null;
  warnings?: BudgetWarning[];
  usage: Usage;
  budget: { usd?: number | null; tokens?: number | null };
  error: Failure | null;
  /** Place in the queue, 1 is next; null when it is not queued. */
  position: number | null;
  /** Why it waits for the store (a full disk), in words. */
  waiting?: string | null;
  last_event: number;
}

/** A piece of what a model is saying now; never stored. */
export interface Text {
  run: string;
  task: string;
  item?: number | null;
  text: string;
  round?: number;
}

const ENDED: ReadonlySet<RunState> = new Set<RunState>(["done", "failed", "cancelled", "dead"]);

export function hasEnded(run: Run): boolean {
  return ENDED.has(run.state);
}
