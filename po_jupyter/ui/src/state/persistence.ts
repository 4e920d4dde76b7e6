/** What a reload brings back, as it lies in Lab's state database: with a version, and no larger than it has to be. */

import type { ReadonlyJSONObject } from "@lumino/coreutils";
import type { Filters } from "./filters.js";
import { NO_FILTERS } from "./filters.js";
import type { Remembered } from "./reducer.js";

/** Raised when the shape changes; an older one is read by what is below. */
const VERSION = 2;
/** Entries that are kept of each kind, the newest. */
const MOST = 500;

export function toSaved({ expanded, dismissed, filters, tab }: Remembered): ReadonlyJSONObject {
  return { version: VERSION, expanded: newest(expanded), dismissed: newest(dismissed), filters: { ...filters }, tab };
}

/** What was saved, by this or an earlier version; what cannot be read is as if nothing had been saved. */
export function fromSaved(found: unknown): Remembered {
  const saved = isRecord(found) && (found.version === 1 || found.version === VERSION) ? found : {};
  return {
    expanded: entries(saved.expanded, isBoolean),
    dismissed: entries(saved.dismissed, isNumber),
    filters: readFilters(saved.filters),
    tab: typeof saved.tab === "string" ? saved.tab : "runs"
  };
}

function readFilters(found: unknown): Filters {
  const texts = entries(found, isString);
  const known = Object.keys(NO_FILTERS).flatMap(key => (key in texts ? [[key, texts[key]!]] : []));
  return { ...NO_FILTERS, ...Object.fromEntries(known) };
}

/** Ids sort by time: the greatest are the newest. */
function newest<T>(record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort().slice(-MOST)) as Record<string, T>;
}

function entries<T>(found: unknown, isOne: (value: unknown) => value is T): Record<string, T> {
  const all = isRecord(found) ? Object.entries(found) : [];
  return Object.fromEntries(all.filter((entry): entry is [string, T] => isOne(entry[1])));
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
const isBoolean = (value: unknown): value is boolean => typeof value === "boolean";
const isNumber = (value: unknown): value is number => typeof value === "number";
const isString = (value: unknown): value is string => typeof value === "string";
