/** What the panel knows, as one immutable value, and the one function that changes it. */

import type { Link, LiveEvent } from "../api/events.js";
import type { Failure, Run, Text } from "../api/types.js";
import { hasEnded } from "../api/types.js";

/** How much of a streamed answer is kept: enough to see that it speaks, and what about. */
export const TAIL = 600;
/** Runs that are shown; the server's snapshot holds as many. */
export const SHOWN = 50;

/** The last words of the task that speaks. */
export interface Speech {
  task: string;
  item: number | null;
  round: number;
  text: string;
}

export interface State {
  readonly link: Link;
  /** False until the first snapshot: an empty list is not yet "no runs". */
  readonly known: boolean;
  readonly runs: readonly Run[];
  /** How many runs the orchestrator works on at the same time; null until it said so. */
  readonly limit: number | null;
  readonly speech: Readonly<Record<string, Speech>>;
  /** What the person, or the arrival of a live run, opened or closed. */
  readonly expanded: Readonly<Record<string, boolean>>;
  /** The button that waits for its answer, by run. */
  readonly busy: Readonly<Record<string, string>>;
  /** Why a button did not do its work, by run. */
  readonly problems: Readonly<Record<string, Failure>>;
}

export type Action =
  | LiveEvent
  | { type: "toggle"; id: string }
  | { type: "restore"; expanded: Record<string, boolean> }
  | { type: "busy"; id: string; verb: string }
  | { type: "answered"; id: string; problem?: Failure };

export const EMPTY: State = {
  link: { state: "idle" },
  known: false,
  runs: [],
  limit: null,
  speech: {},
  expanded: {},
  busy: {},
  problems: {}
};

export function reduce(state: State, action: Action): State {
  switch (action.type) {
    case "link":
      return { ...state, link: action.link };
    case "snapshot":
      return { ...snapshot(state, action.runs), limit: action.limit ?? null };
    case "run":
      return merge(state, action.run);
    case "gone":
      return {
        ...state,
        runs: state.runs.filter(run => run.id !== action.id),
        speech: without(state.speech, action.id),
        expanded: without(state.expanded, action.id),
        busy: without(state.busy, action.id),
        problems: without(state.problems, action.id)
      };
    case "text":
      return { ...state, speech: { ...state.speech, [action.text.run]: heard(state, action.text) } };
    case "toggle":
      return { ...state, expanded: { ...state.expanded, [action.id]: !state.expanded[action.id] } };
    case "restore":
      // What was opened while the saved state was being read wins.
      return { ...state, expanded: { ...action.expanded, ...state.expanded } };
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

/** A snapshot is the whole truth: what is not in it is forgotten, also what was open in it. */
function snapshot(state: State, runs: Run[]): State {
  const ids = new Set(runs.map(run => run.id));
  const sorted = [...runs].sort(newestFirst).slice(0, SHOWN);
  const live = sorted.find(run => !hasEnded(run));
  const expanded = kept(state.expanded, ids);
  if (live && !(live.id in expanded)) {
    expanded[live.id] = true;
  }
  return {
    ...state,
    known: true,
    runs: sorted,
    // Words that were missed while away would leave a hole in the text.
    speech: {},
    expanded,
    busy: kept(state.busy, ids),
    problems: kept(state.problems, ids)
  };
}

function merge(state: State, run: Run): State {
  const at = state.runs.findIndex(other => other.id === run.id);
  const before = state.runs[at];
  if (before && before.last_event > run.last_event) {
    return state; // an answer to a button that was overtaken by the stream
  }
  const runs = before
    ? state.runs.map((other, index) => (index === at ? run : other))
    : [run, ...state.runs].sort(newestFirst).slice(0, SHOWN);
  const arrived = !before && !hasEnded(run) && !(run.id in state.expanded);
  return {
    ...state,
    runs,
    speech: speaks(run, state.speech[run.id]) ? state.speech : without(state.speech, run.id),
    expanded: arrived ? { ...state.expanded, [run.id]: true } : state.expanded
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

function newestFirst(a: Run, b: Run): number {
  return b.created_at.localeCompare(a.created_at) || b.id.localeCompare(a.id);
}

function without<T>(record: Readonly<Record<string, T>>, id: string): Readonly<Record<string, T>> {
  if (!(id in record)) {
    return record;
  }
  const { [id]: _, ...rest } = record;
  return rest;
}

function kept<T>(record: Readonly<Record<string, T>>, ids: ReadonlySet<string>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).filter(([id]) => ids.has(id)));
}
