/** One output of a cell that shows a run: what the file has of it, then what the server says, while somebody looks. */

import { explain } from "../api/errors.js";
import type { Link, LiveEvent } from "../api/events.js";
import { hasEnded } from "../api/types.js";
import type { Failure, Run } from "../api/types.js";
import { language } from "../format/language.js";
import { Store } from "../state/store.js";
import type { IPoLive } from "../tokens.js";
import { cleaned, readContent, RUN_MIME, WIDGET_MIME } from "./content.js";
import type { RunContent } from "./content.js";

/** A cell's output in the notebook's model, as a renderer gets it. */
export interface OutputModel {
  readonly data: Readonly<Record<string, unknown>>;
  readonly trusted: boolean;
  setData(options: { data: Record<string, unknown> }): void;
}

/**
 * How the output stands to the server: `unseen` (nobody looked yet), `untrusted` (it is not asked), `connecting`,
 * `live`, `lost` (it does not answer), `missing` (it does not have the run, or not for this person).
 */
export type Standing = "unseen" | "untrusted" | "connecting" | "live" | "lost" | "missing";

export interface Shown {
  readonly standing: Standing;
  /** Whether it connects for so long that it is worth a word. */
  readonly slow: boolean;
  /** Null until it is known. */
  readonly run: Run | null;
  readonly hidden: Readonly<Record<string, number>>;
  readonly results: RunContent["results"];
  /** Of when the run is, in ms; of no meaning while it is live. */
  readonly at: number;
  /** Why it is lost or missing. */
  readonly problem: Failure | null;
}

/**
 * Milliseconds that a kernel has to publish the new state itself. It does when it is there; only without one is the
 * output written from here.
 */
const KERNEL_FIRST = 4_000;
/** Milliseconds of connecting after which it is said: before, a line would only flicker. */
const SLOW = 1_500;

export class Following {
  constructor(
    private readonly live: IPoLive,
    private readonly patience = KERNEL_FIRST
  ) {
    this.store.subscribe(() => this.tell());
    this.connected = new Promise(resolve => (this.whenConnected = resolve));
  }

  /** Kept once the server has answered: the notebook is trusted, and somebody looks at the output. */
  readonly connected: Promise<void>;

  /** State of the card: the run, what a model says, buttons under way. */
  readonly store = new Store();

  readonly get = (): Shown => this.shown;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Show an output; again when its kernel has published another. */
  show(model: OutputModel): "run" | "nothing" | "unreadable" {
    const reading = readContent(model.data[RUN_MIME]);
    if (reading.kind !== "run") {
      this.leave();
      this.content = null;
      return reading.kind;
    }
    const other = this.content?.run !== reading.content.run || this.model?.trusted !== model.trusted;
    this.model = model;
    this.content = reading.content;
    if (other) {
      this.leave();
      this.at = 0;
    }
    this.take(reading.content);
    this.follow();
    this.tell();
    return "run";
  }

  /** Whether somebody can see the output: the server is asked then, and only then. */
  see(visible: boolean): void {
    this.visible = visible;
    this.follow();
    this.tell();
  }

  dispose(): void {
    this.leave();
    this.listeners.clear();
  }

  private follow(): void {
    if (!this.visible || !this.content || !this.model?.trusted) {
      this.leave();
    } else if (!this.stop) {
      this.connect();
      this.stop = this.live.watch(this.content.run, event => this.hear(event));
    }
  }

  private connect(): void {
    this.standing = "connecting";
    clearTimeout(this.slow);
    this.slow = setTimeout(() => {
      this.isSlow = true;
      this.tell();
    }, SLOW);
  }

  private leave(): void {
    this.stop?.();
    this.stop = null;
    clearTimeout(this.timer);
    this.linked = false;
    this.unlink("unseen");
  }

  /** Live no more: what is shown is of now, and stays so. */
  private unlink(standing: "unseen" | "lost"): void {
    clearTimeout(this.slow);
    this.isSlow = false;
    if (this.standing === "live") {
      this.at = Date.now();
    }
    this.standing = standing;
  }

  private hear(event: LiveEvent): void {
    switch (event.type) {
      case "link":
        this.link(event.link);
        this.tell();
        break;
      case "run":
        this.heard(cleaned(event.run));
        break;
      case "gone":
        this.miss({ code: "not_found", message: language.trans.__("This run was removed."), hint: "" });
        this.tell();
        break;
      case "text":
        this.store.dispatch(cleaned(event));
        break;
    }
  }

  private link(link: Link): void {
    this.linked = link.state === "live";
    switch (link.state) {
      case "live":
        this.whenConnected();
        // Older runs are not in the stream's snapshot, and what was missed is in no event.
        void this.ask();
        break;
      case "lost":
        this.unlink("lost");
        this.problem = link.problem;
        break;
      case "idle":
        // The browser's tab is hidden: nobody is told anything until it is seen again.
        if (this.standing === "live") {
          this.unlink("unseen");
        }
        break;
      case "connecting":
        if (this.standing === "unseen") {
          this.connect();
        }
    }
  }

  private heard(run: Run): void {
    this.draw(run);
    this.hidden = {};
    this.standing = "live";
    this.problem = null;
    if (lasts(run) && run.last_event > this.asked) {
      void this.ask();
    }
  }

  /** Ask for the output as it should be in the file now: the run, and how its results begin. */
  private async ask(): Promise<void> {
    if (this.asking) {
      this.askAgain = true;
      return;
    }
    this.asking = true;
    do {
      this.askAgain = false;
      await this.askOnce();
    } while (this.askAgain && this.stop);
    this.asking = false;
    this.tell();
  }

  private async askOnce(): Promise<void> {
    const id = this.content!.run;
    try {
      const api = await this.live.api();
      const data = await api.display(id);
      if (this.content?.run !== id || !this.stop) {
        return;
      }
      const reading = readContent(data[RUN_MIME]);
      if (reading.kind === "run" && reading.content.view) {
        this.take(reading.content);
        this.asked = Math.max(this.asked, reading.content.view.last_event);
        if (this.linked) {
          this.standing = "live";
          this.problem = null;
        }
        this.keepLater(data, reading.content.view);
      }
    } catch (error) {
      const problem = explain(error);
      if (problem.code === "not_found") {
        const message = language.trans.__("This server does not have the run, or it is somebody else's.");
        this.miss({ ...problem, message, hint: "" });
      } else if (this.standing !== "live") {
        this.standing = "lost";
        this.problem = problem;
      }
    }
  }

  private miss(problem: Failure): void {
    this.standing = "missing";
    this.problem = problem;
  }

  /** Draw what a file, a kernel or the server has, unless something newer is drawn. */
  private take({ view, hidden, results, at }: RunContent): void {
    const known = this.run();
    if (!view || (known && view.last_event < known.last_event)) {
      return;
    }
    this.results = results;
    this.at = Math.max(this.at, at);
    // Of the same state the one that came over the stream is kept: it has all tasks.
    if (!known || view.last_event > known.last_event) {
      this.hidden = hidden;
      this.draw(view);
    }
  }

  private draw(run: Run): void {
    this.store.dispatch({ type: "run", run });
    if (!(run.id in this.store.get().expanded)) {
      this.store.dispatch({ type: "toggle", id: run.id }); // a cell shows the tasks, also of a run that has ended
    }
  }

  /**
   * Put the state into the notebook when it lasts (the run has ended, or waits for a person) and the file has an older
   * one. While a run goes on the file says of when it is; to change it all the time would make the notebook unsaved
   * all the time.
   */
  private keepLater(data: Readonly<Record<string, unknown>>, run: Run): void {
    clearTimeout(this.timer);
    if (lasts(run)) {
      this.timer = setTimeout(() => {
        const saved = this.content?.view;
        if (this.model && (!saved || saved.last_event < run.last_event || saved.state !== run.state)) {
          const { [WIDGET_MIME]: _, ...others } = this.model.data; // its model ended with the kernel
          this.model.setData({ data: { ...others, ...data } });
        }
      }, this.patience);
    }
  }

  private run(): Run | null {
    return this.store.get().runs.get(this.content?.run ?? "") ?? null;
  }

  private tell(): void {
    this.shown = {
      standing: this.model && !this.model.trusted ? "untrusted" : this.standing,
      slow: this.isSlow,
      run: this.run(),
      hidden: this.hidden,
      results: this.results,
      at: this.at,
      problem: this.problem
    };
    for (const listener of this.listeners) {
      listener();
    }
  }

  private model: OutputModel | null = null;
  private content: RunContent | null = null;
  private visible = false;
  private stop: (() => void) | null = null;
  private standing: Standing = "unseen";
  /** Whether the stream is open: only then is what is shown of now. */
  private linked = false;
  private problem: Failure | null = null;
  private hidden: Shown["hidden"] = {};
  private results: Shown["results"] = [];
  private at = 0;
  /** The newest event that an answer to `ask` had. */
  private asked = -1;
  private asking = false;
  private askAgain = false;
  private whenConnected: () => void = () => undefined;
  private isSlow = false;
  private slow: ReturnType<typeof setTimeout> | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly listeners = new Set<() => void>();
  private shown: Shown = { standing: "unseen", slow: false, run: null, hidden: {}, results: [], at: 0, problem: null };
}

/** Whether the run stands so until a person does something. */
function lasts(run: Run): boolean {
  return hasEnded(run) || run.state === "waiting";
}
