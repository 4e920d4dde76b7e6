/** What of the changes of runs a person is told who looks elsewhere. */

import type { LiveEvent } from "../api/events.js";
import type { Run } from "../api/types.js";
import { hasEnded } from "../api/types.js";
import { needOf } from "../state/selectors.js";

export type NoticeKind = "end" | "failure" | "gate" | "disk";

export interface Notice {
  kind: NoticeKind;
  run: Run;
}

/** Compares the runs with what they were. What stood there when one began to watch is no news. */
export class RunChanges {
  /** The notices of an event, the runs in its order. */
  see(event: LiveEvent): Notice[] {
    switch (event.type) {
      case "snapshot": {
        const news = this.known ? event.runs.flatMap(run => this.news(run)) : [];
        this.known ??= new Map();
        event.runs.forEach(run => this.known!.set(run.id, mark(run)));
        return news;
      }
      case "run": {
        const news = this.news(event.run);
        this.known?.set(event.run.id, mark(event.run));
        return news;
      }
      case "gone":
        this.known?.delete(event.id);
        return [];
      default:
        return [];
    }
  }

  private news(run: Run): Notice[] {
    const before = this.known?.get(run.id);
    const kind = kindOf(run);
    // A run that nobody saw before has begun and ended meanwhile; one that was there has changed.
    return kind && this.known && before !== mark(run) ? [{ kind, run }] : [];
  }

  private known: Map<string, string> | null = null;
}

function kindOf(run: Run): NoticeKind | null {
  const need = needOf(run);
  if (need === "gate" || need === "disk") {
    return need;
  }
  return need ? "failure" : run.state === "done" ? "end" : null;
}

/** What makes two states of a run the same news. */
function mark(run: Run): string {
  const kind = kindOf(run);
  return hasEnded(run) ? run.state : kind === "gate" ? `gate ${run.gate?.task ?? ""}` : (kind ?? "");
}
