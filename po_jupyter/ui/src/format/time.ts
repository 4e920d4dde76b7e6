/** Times, as `po_jupyter.presentation.format` says them. Seconds come in, `now` too. */

import { fixed, rounded } from "./numbers.js";

/** A clock: `00:41`, `1:02:03`, `2 d 01:02:03`. Fractions are cut off, as a clock does. */
export function duration(seconds: number): string {
  const total = Math.max(0, Math.trunc(seconds));
  const two = (value: number): string => String(value).padStart(2, "0");
  const [days, hours] = [Math.floor(total / 86_400), Math.floor(total / 3600) % 24];
  const rest = `${two(Math.floor(total / 60) % 60)}:${two(total % 60)}`;
  if (days) {
    return `${days} d ${two(hours)}:${rest}`;
  }
  return hours ? `${hours}:${rest}` : rest;
}

/** The time that a finished thing took: tenths below a minute (`12.1 s`), then a clock. */
export function elapsed(seconds: number): string {
  return seconds < 59.95 ? `${fixed(seconds, 1)} s` : duration(rounded(seconds));
}

/** Seconds from `start` to `end` (to `now`, in seconds since 1970, without one); null before the start. */
export function secondsBetween(start: string | null, end: string | null, now: number): number | null {
  return start ? Math.max(0, (end ? timestamp(end) : now) - timestamp(start)) : null;
}

/** An ISO 8601 time as seconds since 1970; one without a zone is UTC. */
export function timestamp(iso: string): number {
  return Date.parse(/(Z|[+-]\d\d:?\d\d)$/.test(iso) ? iso : iso + "Z") / 1000;
}

/** The day of a moment where the reader is: `2026-11-26`. */
export function localDay(iso: string): string {
  const moment = new Date(timestamp(iso) * 1000);
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
}
