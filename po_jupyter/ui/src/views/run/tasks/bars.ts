/** The timeline of a run: spans of time as bars on one scale. Pure. */

import type { Span } from "../shapes.js";

export interface Bar {
  span: Span;
  /** In percent of the width. */
  left: number;
  width: number;
  seconds: number;
  /** How much of it was a wait: 0 to 1. */
  waited: number;
}

export interface Lane {
  task: string;
  bars: Bar[];
}

export interface Timeline {
  lanes: Lane[];
  seconds: number;
  ticks: { left: number; seconds: number }[];
}

const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400];
/** A bar that took no time can still be seen and pointed at. */
const THINNEST = 0.4;

/** One lane for each of `tasks`, in their order; spans that are not over end at `now` (ms). */
export function timeline(tasks: readonly string[], spans: readonly Span[], now: number): Timeline {
  const times = spans.map(span => ({ span, start: Date.parse(span.started_at), end: endOf(span, now) }));
  const first = Math.min(...times.map(time => time.start));
  const last = Math.max(...times.map(time => time.end));
  const length = times.length ? Math.max(1, last - first) : 0;
  const lanes = new Map<string, Bar[]>(tasks.map(task => [task, []]));
  for (const { span, start, end } of times) {
    const left = ((start - first) / length) * 100;
    const width = Math.max(THINNEST, ((end - start) / length) * 100);
    lanes.get(span.task)?.push({
      span,
      left: Math.min(left, 100 - THINNEST),
      width: Math.min(width, 100 - Math.min(left, 100 - THINNEST)),
      seconds: Math.max(0, (end - start) / 1000),
      waited: waitedOf(span, (end - start) / 1000)
    });
  }
  return {
    lanes: [...lanes].map(([task, bars]) => ({ task, bars })),
    seconds: length / 1000,
    ticks: ticksOf(length / 1000)
  };
}

function waitedOf(span: Span, seconds: number): number {
  if (span.state === "waiting") {
    return 1;
  }
  return seconds > 0 ? Math.min(1, Math.max(0, span.wait) / seconds) : 0;
}

function endOf(span: Span, now: number): number {
  const start = Date.parse(span.started_at);
  return Math.max(start, span.ended_at ? Date.parse(span.ended_at) : now);
}

/** At most six round times. */
function ticksOf(seconds: number): Timeline["ticks"] {
  if (seconds <= 0) {
    return [];
  }
  const step = STEPS.find(size => seconds / size <= 6) ?? Math.ceil(seconds / 6 / 86_400) * 86_400;
  const ticks = [];
  for (let n = 0; n * step <= seconds; n += 1) {
    ticks.push({ left: ((n * step) / seconds) * 100, seconds: n * step });
  }
  return ticks;
}
