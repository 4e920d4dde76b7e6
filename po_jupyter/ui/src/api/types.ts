/** The shapes that the server answers with, generated from its OpenAPI document, and what that leaves open. */

import type { components } from "./schema.js";

type Schemas = components["schemas"];

export type Usage = Schemas["Usage"];
export type Items = Schemas["ItemCounts"];
export type RunState = Schemas["Run"]["state"];
export type TaskState = Schemas["TaskView"]["state"];

/** The threshold that a cascade learned from a sample: `cascade` of a task. */
export interface LearnedCascade {
  threshold: number | null;
  model: string;
  sampled: number;
  sure: number;
  agreeing: number;
  interval: [number, number] | null;
}

export interface Failure {
  code: string;
  message: string;
  hint?: string;
  /** `traceback` has the lines of the person's own Python that raised it. */
  details?: { traceback?: unknown; violations?: unknown; scope?: unknown };
}

export interface Task extends Omit<Schemas["TaskView"], "error"> {
  error: Failure | null;
}

export interface Gate {
  /** `t.a`: task a of the pipeline that task t runs; `run` has the gate then. */
  task?: string;
  run?: string;
  message?: string;
  artifacts?: string[];
  decision?: string | null;
  note?: string | null;
}

/** A budget of which 80 % are used; `scope` is `run`, `day` or a task's name. */
export interface BudgetWarning {
  scope: string;
  fraction: number;
}

export interface Budget {
  usd?: number | null;
  tokens?: number | null;
}

export interface Run extends Omit<Schemas["Run"], "seed" | "tasks" | "gate" | "warnings" | "budget" | "error" | "forked_from" | "moved" | "acts"> {
  /** Not in brief lists. */
  seed?: Record<string, unknown>;
  tasks: Task[];
  gate: Gate | null;
  warnings: BudgetWarning[];
  budget: Budget;
  error: Failure | null;
  forked_from?: Record<string, unknown> | null;
  /** Of a shared run of a hub: the scopes that one has there. */
  may?: readonly string[];
  /** Where it is worked off, once that is not here. */
  moved?: { to?: string; group?: string; accepted?: boolean } | null;
  /** Who did what with it last. */
  acts?: readonly Act[];
}

export interface Act {
  act?: string;
  by?: string;
  at?: string;
}

/** A piece of what a model is saying now; never stored. */
export interface Text {
  run: string;
  task: string;
  item?: number | null;
  text: string;
  round?: number;
}

const ENDED: ReadonlySet<RunState> = new Set<RunState>(["done", "failed", "cancelled", "dead", "moved"]);

/** Whether one has a scope of a run; of one's own one has all. */
export function mayDo(run: Pick<Run, "may">, scope: "runs:write" | "gates"): boolean {
  return !run.may || run.may.includes(scope);
}

/** Whether a view of a run is older than another one. Of a run that has moved the shared runs say more: there its events
 * have numbers of their own. */
export function isOlder(run: Pick<Run, "may" | "last_event">, than: Pick<Run, "may" | "last_event">): boolean {
  return !run.may === !than.may ? run.last_event < than.last_event : !run.may;
}

export function hasEnded(run: Pick<Run, "state">): boolean {
  return ENDED.has(run.state);
}
