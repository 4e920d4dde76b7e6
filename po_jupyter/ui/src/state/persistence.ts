/** What a reload brings back, as it lies in Lab's state database: with a version, and no larger than it has to be. */

import type { ReadonlyJSONObject } from "@lumino/coreutils";
import type { Filters } from "./filters.js";
import { NO_FILTERS } from "./filters.js";
import type { Remembered } from "./reducer.js";
import type { Scroll } from "./scroll.js";

/** Raised when the shape changes; an older one is read by what is below. */
const VERSION = 3;
/** Entries that are kept of each kind, the newest. */
const MOST = 500;
const MOST_TABS = 10;
/** No browser has a longer page. */
const MOST_PIXELS = 1e8;

export function toSaved({ expanded, dismissed, filters, tab }: Remembered, scroll: Scroll = {}): ReadonlyJSONObject {
  return {
    version: VERSION,
    expanded: newest(expanded),
    dismissed: newest(dismissed),
    filters: { ...filters },
    tab,
    scroll: Object.fromEntries(Object.entries(scroll).slice(0, MOST_TABS).map(([name, place]) => [name, { ...place }]))
  };
}

/** What was saved, by this or an earlier version; what cannot be read is as if nothing had been saved. */
export function fromSaved(found: unknown): Remembered {
  const saved = readable(found);
  return {
    expanded: entries(saved.expanded, isBoolean),
    dismissed: entries(saved.dismissed, isNumber),
    filters: readFilters(saved.filters),
    tab: typeof saved.tab === "string" ? saved.tab : "runs"
  };
}

/** Where the parts of the panel were scrolled to; at their tops when nothing of it can be read. */
export function scrollFromSaved(found: unknown): Scroll {
  const places = entries(readable(found).scroll, isRecord);
  return Object.fromEntries(
    Object.entries(places).slice(0, MOST_TABS).flatMap(([tab, { top, run, offset }]) => {
      if (!isNumber(top) || !(top > 0 && top < MOST_PIXELS)) {
        return [];
      }
      const anchored = isString(run) && run.length <= 100 && isNumber(offset) && Number.isFinite(offset);
      return [[tab, anchored ? { top, run, offset } : { top }]];
    })
  );
}

function readable(found: unknown): Record<string, unknown> {
  return isRecord(found) && isNumber(found.version) && found.version >= 1 && found.version <= VERSION ? found : {};
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
