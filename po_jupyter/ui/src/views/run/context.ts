/** What every part of a run's page has at hand. */

import * as React from "react";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Run } from "../../api/types.js";
import type { IPoLive } from "../../tokens.js";
import type { PageState, Patch } from "./pageState.js";
import type { RunSource } from "./source.js";
import type { Speech } from "./useRun.js";

/** What Lab does for the page. */
export interface Host {
  /** Opens a file of the run in one of Lab's viewers. */
  openFile(run: string, name: string): void;
  openRun(run: string): void;
  /** A link to this page for a colleague. */
  link(state: PageState): string;
  /** The run is gone. */
  deleted(): void;
}

export interface Page {
  run: Run;
  source: RunSource;
  live: IPoLive;
  /** Somebody can see the page: else nothing is asked and nothing is watched. */
  visible: boolean;
  state: PageState;
  patch: (patch: Patch) => void;
  speech: Speech | null;
  /** Seconds since 1970, renewed each second while the run goes on. */
  now: number;
  trans: TranslationBundle;
  host: Host;
  /** Shows the run that a verb answered with. */
  answered: (run: Run) => void;
}

const Context = React.createContext<Page | null>(null);

export const PageProvider = Context.Provider;

export function usePage(): Page {
  const page = React.useContext(Context);
  if (!page) {
    throw new Error("a part of a run's page outside of it");
  }
  return page;
}
