/** What the stream of all my runs says, one event a frame, and how the connection to it stands. */

import type { Failure, Run, Text } from "./types.js";

export type Link =
  | { state: "idle" }
  | { state: "connecting" }
  | { state: "live" }
  | { state: "lost"; problem: Failure; retryAt: number };

export type LiveEvent =
  | { type: "link"; link: Link }
  /**
   * The server's newest runs, all of them. Later than the server's, `runs` has also older ones that changed since, and
   * `complete` says from which sort key on no run is missing.
   */
  | { type: "snapshot"; runs: Run[]; limit?: number | null; complete?: string }
  | { type: "run"; run: Run }
  | { type: "gone"; id: string }
  | { type: "text"; text: Text };

/** The event that a frame means; null for one of a newer server that we do not know. */
export function understand(event: string, data: string): LiveEvent | null {
  switch (event) {
    case "snapshot":
      return { type: "snapshot", ...(JSON.parse(data) as { runs: Run[]; limit?: number | null }) };
    case "run":
      return { type: "run", run: JSON.parse(data).run };
    case "gone":
      return { type: "gone", id: JSON.parse(data).id };
    case "text":
      return { type: "text", text: JSON.parse(data) };
    default:
      return null;
  }
}
