/** What of the state is shown where. */

import type { Run } from "../api/types.js";
import { hasEnded, mayDo } from "../api/types.js";
import { localDay } from "../format/time.js";
import { isFiltered, matches } from "./filters.js";
import type { State } from "./reducer.js";
import { sortKey } from "./reducer.js";

export type Need = "gate" | "disk" | "dead" | "failed";
const NEEDS: readonly Need[] = ["gate", "disk", "dead", "failed"];

/** What a run needs a person for, or null. */
export function needOf(run: Run): Need | null {
  if (run.state === "waiting" && run.gate && !run.gate.decision) {
    return mayDo(run, "gates") ? "gate" : null;
  }
  if (run.waiting && !hasEnded(run)) {
    return "disk";
  }
  return (run.state === "dead" || run.state === "failed") && mayDo(run, "runs:write") ? run.state : null;
}

/** A run in the list. `day` is there for the first one of a day. */
export interface Entry {
  run: Run;
  day: string | null;
}

export interface Sections {
  /** What needs a person, whatever its age: first what only waits for a word. */
  attention: Run[];
  /** What goes on or waits for its turn; empty while filters are set, which then find it in `list`. */
  active: Run[];
  /** What has ended, by day; with filters, all that they let through. */
  list: Entry[];
}

export function sections(state: State): Sections {
  const { filters, history } = state;
  const filtered = isFiltered(filters);
  const attention: Run[] = [];
  const active: Run[] = [];
  const list: Entry[] = [];
  let day = "";
  for (const id of state.order) {
    const run = state.runs.get(id)!;
    const need = isAside(state, run) ? null : needOf(run);
    if (need) {
      attention.push(run);
    } else if (!filtered && !hasEnded(run)) {
      active.push(run);
    }
    const listed = filtered ? matches(run, filters) : !need && hasEnded(run);
    if (listed && isReached(history, run)) {
      const own = localDay(run.created_at);
      list.push({ run, day: own === day ? null : own });
      day = own;
    }
  }
  attention.sort((a, b) => NEEDS.indexOf(needOf(a)!) - NEEDS.indexOf(needOf(b)!));
  return { attention, active, list };
}

/** Whether the person has put the run aside, and nothing happened to it since. A gate cannot be put aside. */
function isAside(state: State, run: Run): boolean {
  return hasEnded(run) && (state.dismissed[run.id] ?? -1) >= run.last_event;
}

/** Runs beyond the last page may have gaps between them: they come with their page. */
function isReached(history: State["history"], run: Run): boolean {
  return history.next === null || (history.oldest !== null && sortKey(run) >= history.oldest);
}

/** The names of pipelines that are known from their runs. */
export function pipelineNames(state: State): string[] {
  return [...new Set([...state.runs.values()].map(run => run.pipeline))].sort();
}
