/** Which runs a person wants to see. */

import type { Run, RunState } from "../api/types.js";
import { localDay } from "../format/time.js";

export interface Filters {
  /** Part of an id, or of the name of a run or its pipeline. */
  readonly q: string;
  readonly state: RunState | "";
  readonly pipeline: string;
  /** Days of the reader's calendar, both included; "" is open. */
  readonly since: string;
  readonly until: string;
}

export const NO_FILTERS: Filters = { q: "", state: "", pipeline: "", since: "", until: "" };

export function isFiltered(filters: Filters): boolean {
  return Object.values(filters).some(Boolean);
}

/** What the server does with the query of `asQuery`, for runs that come by the stream. */
export function matches(run: Run, filters: Filters): boolean {
  const { q, state, pipeline, since, until } = filters;
  const wanted = q.trim().toLowerCase();
  return (
    (!state || run.state === state) &&
    (!pipeline || run.pipeline === pipeline) &&
    (!wanted || [run.id, run.name, run.pipeline].some(text => text.toLowerCase().includes(wanted))) &&
    ((!since && !until) || within(localDay(run.created_at), since, until))
  );
}

function within(day: string, since: string, until: string): boolean {
  return (!since || day >= since) && (!until || day <= until);
}

/** The filters as the query of `GET runs`. A day begins and ends where the reader is. */
export function asQuery(filters: Filters): Record<string, string> {
  const { q, state, pipeline, since, until } = filters;
  const query = {
    q: q.trim(),
    state,
    pipeline,
    since: since && startOf(since, 0),
    until: until && startOf(until, 1)
  };
  return Object.fromEntries(Object.entries(query).filter(([, value]) => value));
}

/** The moment when a day of the reader's calendar begins, `later` days on. */
function startOf(day: string, later: number): string {
  const [year, month, date] = day.split("-").map(Number);
  return new Date(year!, month! - 1, date! + later).toISOString();
}
