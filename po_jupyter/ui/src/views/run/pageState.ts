/** What a person set on a run's page: kept over reloads, and sent in a link. Pure. */

import type { RowQuery } from "./shapes.js";
import { SORTS } from "./shapes.js";

export const TABS = ["tasks", "rows", "compare", "calls", "logs", "data", "files", "money"] as const;
export type Tab = (typeof TABS)[number];

export interface PageState {
  readonly tab: Tab;
  /** The task that Rows, Calls and Logs are about; "" is the first that there is, or all. */
  readonly task: string;
  readonly rows: Omit<RowQuery, "task"> & { readonly top: number; readonly open: number | null };
  readonly calls: {
    readonly row: number | null;
    readonly state: string;
    readonly open: number | null;
    /** The call on the left of a comparison. */
    readonly beside: number | null;
  };
  /** `run`: the one that this one is compared with; "" is none, and no tab. `open` is the place of a pair. */
  readonly compare: { readonly run: string; readonly all: boolean; readonly open: number | null };
  readonly logs: { readonly follow: boolean };
  readonly money: { readonly unit: "usd" | "tokens" };
}

export const FRESH: PageState = {
  tab: "tasks",
  task: "",
  rows: { state: "", variant: "", q: "", sort: "index", desc: false, top: 0, open: null },
  calls: { row: null, state: "", open: null, beside: null },
  compare: { run: "", all: false, open: null },
  logs: { follow: true },
  money: { unit: "usd" }
};

/** A change of some fields of one part. */
export type Patch = {
  readonly [Part in keyof PageState]?: PageState[Part] extends object ? Partial<PageState[Part]> : PageState[Part];
};

export function patched(state: PageState, patch: Patch): PageState {
  return {
    tab: patch.tab ?? state.tab,
    task: patch.task ?? state.task,
    rows: { ...state.rows, ...patch.rows },
    calls: { ...state.calls, ...patch.calls },
    compare: { ...state.compare, ...patch.compare },
    logs: { ...state.logs, ...patch.logs },
    money: { ...state.money, ...patch.money }
  };
}

export function isTab(value: unknown): value is Tab {
  return TABS.includes(value as Tab);
}

/** A saved state, each field checked: what is not understood is as if it had not been saved. */
export function readPageState(saved: unknown): PageState {
  const from = part(saved);
  const rows = part(from.rows);
  const calls = part(from.calls);
  const compare = part(from.compare);
  const other = text(compare.run);
  return {
    tab: isTab(from.tab) && (from.tab !== "compare" || other) ? from.tab : FRESH.tab,
    task: text(from.task),
    rows: {
      state: rows.state === "failed" || rows.state === "done" ? rows.state : "",
      variant: text(rows.variant),
      q: text(rows.q),
      sort: SORTS.find(name => name === rows.sort) ?? "index",
      desc: rows.desc === true,
      top: count(rows.top) ?? 0,
      open: count(rows.open)
    },
    calls: {
      row: count(calls.row),
      state: text(calls.state),
      open: count(calls.open),
      beside: count(calls.beside)
    },
    compare: { run: other, all: compare.all === true, open: null },
    logs: { follow: part(from.logs).follow !== false },
    money: { unit: part(from.money).unit === "tokens" ? "tokens" : "usd" }
  };
}

function part(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function count(value: unknown): number | null {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : null;
}
