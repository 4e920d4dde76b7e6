/** The one stream of a browser tab, shared by all that show runs: open while somebody watches in a visible tab. */

import type { Link, LiveEvent } from "../api/events.js";
import type { Failure, Run } from "../api/types.js";
import { bound } from "../state/reducer.js";
import { SharedPoll } from "./sharedPoll.js";
import { EventStream } from "./stream.js";

export type Watcher = (event: LiveEvent) => void;

export class Feed {
  /** `open` begins the stream's request; `explain` says why one failed. `page` is the document that may be hidden. */
  constructor(
    open: (signal: AbortSignal) => Promise<Response>,
    explain: (error: unknown) => Failure,
    private readonly page: Pick<Document, "hidden" | "addEventListener" | "removeEventListener"> = document,
    shared: () => Promise<readonly Run[] | null> = () => Promise.resolve(null)
  ) {
    this.shared = new SharedPoll(
      shared,
      run => this.tell({ type: "run", run }),
      id => this.tell({ type: "gone", id }),
      () => this.known && this.hear({ type: "snapshot", runs: [...this.known.values()], limit: this.limit, complete: this.complete })
    );
    this.stream = new EventStream(open, event => this.hear(event), explain);
  }

  /**
   * Call `watcher` with what happens to all runs, or to the one with the id `run`, until the returned function is
   * called. Who comes late gets first what is known: the link and the runs. A run that is older than the stream's
   * snapshot is told from its first change on.
   */
  watch(run: string | null, watcher: Watcher): () => void {
    const entry = { run, watcher };
    this.entries.add(entry);
    queueMicrotask(() => {
      if (this.entries.has(entry)) {
        this.introduce(entry);
      }
    });
    if (this.entries.size === 1) {
      this.page.addEventListener("visibilitychange", this.follow);
    }
    this.follow();
    return () => {
      if (this.entries.delete(entry) && !this.entries.size) {
        this.page.removeEventListener("visibilitychange", this.follow);
        this.follow();
      }
    };
  }

  /** Ends the wait for the next try. */
  retryNow(): void {
    this.stream.retryNow();
  }

  /** A browser allows six connections to one server: a tab that nobody sees must not hold one of them. */
  private readonly follow = (): void => {
    const wanted = this.entries.size > 0 && !this.page.hidden;
    if (wanted && !this.open) {
      this.open = true;
      this.stream.start();
      this.shared.start();
    } else if (!wanted && this.open) {
      this.open = false;
      this.known = null;
      this.stream.stop();
      this.shared.stop();
    }
  };

  private introduce(entry: Entry): void {
    deliver(entry, { type: "link", link: this.link });
    if (!this.known) {
      return;
    }
    if (entry.run === null) {
      deliver(entry, { type: "snapshot", runs: [...this.known.values()], limit: this.limit, complete: this.complete });
    } else {
      const run = this.known.get(entry.run);
      if (run) {
        deliver(entry, { type: "run", run });
      }
    }
  }

  /** What the own stream says: of a run that has moved, its new place says more. */
  private hear(event: LiveEvent): void {
    if (event.type === "snapshot") {
      const own = event.runs.filter(run => !this.shared.known.has(run.id));
      const runs = [...own, ...this.shared.known.values()];
      this.tell({ ...event, runs, complete: event.complete ?? bound(event.runs) });
    } else if (event.type !== "run" || !this.shared.known.has(event.run.id)) {
      this.tell(event);
    }
  }

  private tell(event: LiveEvent): void {
    this.remember(event);
    for (const entry of [...this.entries]) {
      deliver(entry, event);
    }
  }

  private remember(event: LiveEvent): void {
    switch (event.type) {
      case "link":
        this.link = event.link;
        break;
      case "snapshot":
        this.known = new Map(event.runs.map(run => [run.id, run]));
        this.limit = event.limit ?? null;
        this.complete = event.complete ?? bound(event.runs);
        break;
      case "run":
        this.known?.set(event.run.id, event.run);
        break;
      case "gone":
        this.known?.delete(event.id);
        break;
    }
  }

  private readonly stream: EventStream;
  private readonly shared: SharedPoll;
  private readonly entries = new Set<Entry>();
  private known: Map<string, Run> | null = null;
  private limit: number | null = null;
  /** The oldest of the server's snapshot: of what is older, `known` has only what changed since. */
  private complete = "";
  private link: Link = { state: "idle" };
  private open = false;
}

interface Entry {
  run: string | null;
  watcher: Watcher;
}

/** Tell a watcher what concerns it. One that fails must not keep the others from hearing. */
function deliver(entry: Entry, event: LiveEvent): void {
  for (const mine of concerning(entry.run, event)) {
    try {
      entry.watcher(mine);
    } catch (error) {
      console.error("po_jupyter: a view failed on an event", error);
    }
  }
}

function concerning(run: string | null, event: LiveEvent): LiveEvent[] {
  if (run === null || event.type === "link") {
    return [event];
  }
  switch (event.type) {
    case "snapshot":
      return event.runs.filter(each => each.id === run).map(each => ({ type: "run", run: each }));
    case "run":
      return event.run.id === run ? [event] : [];
    case "gone":
      return event.id === run ? [event] : [];
    case "text":
      return event.text.run === run ? [event] : [];
  }
}
