/** What this extension offers to other plugins, its own and those of others. */

import { Token } from "@lumino/coreutils";
import type { Api } from "./api/client.js";
import type { LiveEvent } from "./api/events.js";

/** The orchestrator's HTTP and its one live stream. Nothing is loaded or asked before the first use. */
export interface IPoLive {
  /** The routes of the server, as methods. */
  api(): Promise<Api>;
  /**
   * Call `watcher` with each event of all runs (`run` null) or of one, until the returned function is called.
   * Views watch while they can be seen, and only then: the stream is open as long as anybody watches.
   */
  watch(run: string | null, watcher: (event: LiveEvent) => void): () => void;
  /** Kept when somebody first watches: before that nobody wants to know of runs. */
  readonly firstWatch: Promise<void>;
  /** Ends the wait for the next try of a lost connection. */
  retryNow(): void;
}

export const IPoLive = new Token<IPoLive>(
  "po-jupyter:IPoLive",
  "The live state of prompt runs and the HTTP API of their orchestrator."
);

/** The commands that open something; everybody goes through them. */
export const commandIds = {
  showRuns: "po-jupyter:show-runs",
  openRun: "po-jupyter:open-run",
  findRun: "po-jupyter:find-run",
  newPipeline: "po-jupyter:new-pipeline",
  runFile: "po-jupyter:run-file",
  cancelAll: "po-jupyter:cancel-all"
} as const;
