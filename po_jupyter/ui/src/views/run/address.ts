/** The URL of a run's page: `lab?po-run=ID&po-tab=rows&po-task=label&po-row=17`. Pure. */

import { isTab } from "./pageState.js";
import type { Tab } from "./pageState.js";

export interface Address {
  run: string;
  tab?: Tab;
  task?: string;
  row?: number;
}

/** The part of a URL that Lab's router asks us about. */
export const PATTERN = /[?&]po-run=[^&]/;

const NAMES = ["po-run", "po-tab", "po-task", "po-row"];

/** What a URL's query asks for, or null. */
export function readAddress(search: string): Address | null {
  const query = new URLSearchParams(search);
  const run = query.get("po-run") ?? "";
  if (!/^[\w-]{1,64}$/.test(run)) {
    return null;
  }
  const tab = query.get("po-tab");
  const row = query.get("po-row") ?? "";
  return {
    run,
    ...(isTab(tab) ? { tab } : {}),
    ...(query.get("po-task") ? { task: query.get("po-task")! } : {}),
    ...(/^\d{1,9}$/.test(row) ? { row: Number(row) } : {})
  };
}

/** The same URL without our part: it is read once, and a reload restores the layout. */
export function withoutAddress(url: string): string {
  const [path = "", rest = ""] = url.split("?", 2);
  const [search = "", hash] = rest.split("#", 2);
  const query = new URLSearchParams(search);
  NAMES.forEach(name => query.delete(name));
  const left = query.toString();
  return path + (left ? `?${left}` : "") + (hash === undefined ? "" : `#${hash}`);
}

/** A link for a colleague on the same server; `base` is the server's base URL. */
export function linkTo(base: string, { run, tab, task, row }: Address): string {
  const query = new URLSearchParams({ "po-run": run });
  if (tab) {
    query.set("po-tab", tab);
  }
  if (task) {
    query.set("po-task", task);
  }
  if (row !== undefined) {
    query.set("po-row", String(row));
  }
  return `${base.replace(/\/*$/, "/")}lab?${query}`;
}
