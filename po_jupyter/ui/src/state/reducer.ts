/** What the panel knows, as one immutable value, and the one function that changes it. */

import type { Link, LiveEvent } from "../api/events.js";
import type { Failure, Run, Text } from "../api/types.js";
import { isOlder } from "../api/types.js";
import type { Filters } from "./filters.js";
import { NO_FILTERS } from "./filters.js";

/** How much of a streamed answer is kept: enough to see that it speaks, and what about. */
export const TAIL = 600;

/** The last words of the task that speaks. */
export interface Speech {
  task: string;
  item: number | null;
  round: number;
  text: string;
}

/** How far the list of runs was read, the newest first, under the filters. */
export interface History {
  /** Where the next page begins; null: this was the last one; undefined: none was read yet. */
  readonly next: string | null | undefined;
  /** The sort key of the oldest run that was listed: what is older may have gaps, and is not shown. */
  readonly oldest: string | null;
  readonly loading: boolean;
  readonly problem: Failure | null;
}

export interface State {
  readonly link: Link;
  /** False until the first snapshot: an empty list is not yet "no runs". */
  readonly known: boolean;
  /** A map: thousands of runs are copied with each change, which an object of that size does slowly. */
  readonly runs: ReadonlyMap<string, Run>;
  /** The ids of `runs`, the newest first. */
  readonly order: readonly string[];
  readonly history: History;
  readonly filters: Filters;
  /** Runs that need a person, beyond those that the server listed. */
  readonly moreAttention: number;
  /** The part of the panel that is shown. */
  readonly tab: string;
  /** How many runs the orchestrator works on at the same time; null until it said so. */
  readonly limit: number | null;
  readonly speech: Readonly<Record<string, Speech>>;
  /** What the person, or the arrival of a live run, opened or closed. */
  readonly expanded: Readonly<Record<string, boolean>>;
  /** Failures that the person has put aside, with the run's last event then: what happens later shows it again. */
  readonly dismissed: Readonly<Record<string, number>>;
  /** The button that waits for its answer, by run. */
  readonly busy: Readonly<Record<string, string>>;
  /** Why a button did not do its work, by run. */
  readonly problems: Readonly<Record<string, Failure>>;
}

/** What is kept from one visit to the next. */
export type Remembered = Pick<State, "expanded" | "dismissed" | "filters" | "tab">;

export type Action =
  | LiveEvent
  /** Runs that were asked for, whatever their place in the list. */
  | { type: "found"; runs: readonly Run[]; moreAttention?: number }
  | { type: "reading" }
  /** A page of the list under `filters`; pages of filters that were changed meanwhile are dropped. */
  | { type: "page"; filters: Filters; runs: readonly Run[]; next: string | null }
  | { type: "unread"; filters: Filters; problem: Failure }
  | { type: "filter"; filters: Filters }
  | { type: "tab"; tab: string }
  | { type: "dismiss"; id: string }
  | { type: "toggle"; id: string }
  | { type: "restore"; saved: Remembered }
  | { type: "busy"; id: string; verb: string }
  | { type: "answered"; id: string; problem?: Failure };

const UNREAD: History = { next: undefined, oldest: null, loading: false, problem: null };

export const EMPTY: State = {
  link: { state: "idle" },
  known: false,
  runs: new Map(),
  order: [],
  history: UNREAD,
  filters: NO_FILTERS,
  moreAttention: 0,
  tab: "runs",
  limit: null,
  speech: {},
  expanded: {},
  dismissed: {},
  busy: {},
  problems: {}
};

export function reduce(state: State, action: Action): State {
  switch (action.type) {
    case "link":
      return { ...state, link: action.link };
    case "snapshot":
      return { ...snapshot(state, action.runs, action.complete ?? bound(action.runs)), limit: action.limit ?? null };
    case "run":
      return arrival(state, action.run);
    case "found":
      return { ...merged(state, action.runs), moreAttention: action.moreAttention ?? state.moreAttention };
    case "gone":
      return forget(state, new Set([action.id]));
    case "text":
      return { ...state, speech: { ...state.speech, [action.text.run]: heard(state, action.text) } };
    case "reading":
      return { ...state, history: { ...state.history, loading: true, problem: null } };
    case "page":
      return action.filters === state.filters ? page(state, action.runs, action.next) : state;
    case "unread":
      return action.filters === state.filters
        ? { ...state, history: { ...state.history, loading: false, problem: action.problem } }
        : state;
    case "filter":
      return { ...state, filters: action.filters, history: UNREAD };
    case "tab":
      return { ...state, tab: action.tab };
    case "dismiss": {
      const run = state.runs.get(action.id);
      return run ? { ...state, dismissed: { ...state.dismissed, [run.id]: run.last_event } } : state;
    }
    case "toggle":
      return { ...state, expanded: { ...state.expanded, [action.id]: !state.expanded[action.id] } };
    case "restore":
      // What was opened while the saved state was being read wins.
      return { ...state, ...action.saved, expanded: { ...action.saved.expanded, ...state.expanded } };
    case "busy":
      return {
        ...state,
        busy: { ...state.busy, [action.id]: action.verb },
        problems: without(state.problems, action.id)
      };
    case "answered":
      return {
        ...state,
        busy: without(state.busy, action.id),
        problems: action.problem
          ? { ...state.problems, [action.id]: action.problem }
          : without(state.problems, action.id)
      };
  }
}

/** The sort key of a run: the newest has the greatest. */
export function sortKey(run: Run): string {
  return `${run.created_at}|${run.id}`;
}

/** The sort key from which on a snapshot of the server has all runs: its oldest one's. */
export function bound(runs: readonly Run[]): string {
  return runs.map(sortKey).sort()[0] ?? "";
}

/** A snapshot has all runs from `complete` on: one that should be among them and is not was deleted. */
function snapshot(state: State, runs: Run[], complete: string): State {
  const ids = new Set(runs.map(run => run.id));
  const deleted = state.order.filter(id => !ids.has(id) && sortKey(state.runs.get(id)!) >= complete);
  const next = merged(forget(state, new Set(deleted)), runs);
  // Runs that came while away, more than a snapshot has: what lies between is read from the top again.
  const meets = !runs.length || runs.some(run => state.runs.has(run.id));
  const live = next.order.map(id => next.runs.get(id)!).find(run => ids.has(run.id) && goesOn(run));
  return {
    ...next,
    known: true,
    ...(state.known && !meets && unread(state)),
    // Words that were missed while away would leave a hole in the text.
    speech: {},
    expanded: live && !(live.id in next.expanded) ? { ...next.expanded, [live.id]: true } : next.expanded
  };
}

/** The list as if none of it was read. The filters are other ones, so that a page that is on its way is dropped. */
function unread(state: State): Pick<State, "history" | "filters"> {
  return { history: UNREAD, filters: { ...state.filters } };
}

function page(state: State, runs: readonly Run[], next: string | null): State {
  const last = runs.at(-1);
  const history = { next, oldest: last ? sortKey(last) : state.history.oldest, loading: false, problem: null };
  return { ...merged(state, runs), history };
}

function arrival(state: State, run: Run): State {
  const arrived = !state.runs.has(run.id) && goesOn(run) && !(run.id in state.expanded);
  const next = merged(state, [run]);
  return arrived ? { ...next, expanded: { ...next.expanded, [run.id]: true } } : next;
}

/** Whether there is something to watch: such a run opens by itself. */
function goesOn(run: Run): boolean {
  return run.state === "running" || run.state === "pending";
}

/** Take runs in. One that is older than what is known of it was overtaken by the stream, and changes nothing. */
function merged(state: State, found: readonly Run[]): State {
  const newer = found.filter(run => {
    const known = state.runs.get(run.id);
    return !known || !isOlder(run, known);
  });
  if (!newer.length) {
    return state;
  }
  const runs = new Map(state.runs);
  const fresh: string[] = [];
  let speech = state.speech;
  for (const run of newer) {
    if (!runs.has(run.id)) {
      fresh.push(run.id);
    }
    runs.set(run.id, run);
    speech = speaks(run, speech[run.id]) ? speech : without(speech, run.id);
  }
  const order = fresh.length ? inserted(state.order, fresh, runs) : state.order;
  return { ...state, runs, order, speech };
}

/** The order with `fresh` ids among it. */
function inserted(order: readonly string[], fresh: string[], runs: State["runs"]): string[] {
  const keys = new Map<string, string>();
  const key = (id: string): string => {
    const found = keys.get(id) ?? sortKey(runs.get(id)!);
    keys.set(id, found);
    return found;
  };
  return [...order, ...fresh].sort((a, b) => (key(a) < key(b) ? 1 : -1));
}

function forget(state: State, ids: ReadonlySet<string>): State {
  if (!ids.size) {
    return state;
  }
  const cleaned = <T>(record: Readonly<Record<string, T>>): Readonly<Record<string, T>> =>
    Object.fromEntries(Object.entries(record).filter(([id]) => !ids.has(id)));
  return {
    ...state,
    runs: new Map([...state.runs].filter(([id]) => !ids.has(id))),
    order: state.order.filter(id => !ids.has(id)),
    speech: cleaned(state.speech),
    expanded: cleaned(state.expanded),
    dismissed: cleaned(state.dismissed),
    busy: cleaned(state.busy),
    problems: cleaned(state.problems)
  };
}

function heard(state: State, piece: Text): Speech {
  const item = piece.item ?? null;
  const round = piece.round ?? 0;
  const before = state.speech[piece.run];
  const goesOn = before && before.task === piece.task && before.item === item && before.round === round;
  const text = (goesOn ? before.text : "") + piece.text;
  return { task: piece.task, item, round, text: text.slice(-TAIL) };
}

function speaks(run: Run, speech: Speech | undefined): boolean {
  return !speech || run.tasks.some(task => task.name === speech.task && task.state === "running");
}

function without<T>(record: Readonly<Record<string, T>>, id: string): Readonly<Record<string, T>> {
  if (!(id in record)) {
    return record;
  }
  const { [id]: _, ...rest } = record;
  return rest;
}
