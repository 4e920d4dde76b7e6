/** Watches the runs for the status bar, the badge of the panel's icon and notifications. */

import { Notification } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { LiveEvent } from "../api/events.js";
import type { Run } from "../api/types.js";
import { shortId } from "../format/run.js";
import { needOf } from "../state/selectors.js";
import type { IPoLive } from "../tokens.js";
import type { Notice, NoticeKind } from "./notices.js";
import { RunChanges } from "./notices.js";
import type { OfLimit } from "../api/answers.js";
import type { Counts } from "./summary.js";
import { counts, spentToday, summary } from "./summary.js";

/** Milliseconds between two looks at what today cost, while something happens. */
const USAGE_EVERY = 10_000;
const DAY = 24 * 3600_000;
/** Milliseconds between two looks of a hidden tab, and the runs that it looks at: the newest. */
const HIDDEN_EVERY = 30_000;
const HIDDEN_RUNS = 50;
/** More notices at once become one. */
const MOST_NOTICES = 3;
/** Milliseconds that the news of a good end stay. */
const END_STAYS = 6_000;

export interface Shown {
  /** The text of the status bar, and how many runs wait for a person. */
  show(text: string, counts: Counts): void;
  open(run: Run | null): void;
  wants(kind: NoticeKind): boolean;
  /** Tell it outside of the page too, where the setting says so. */
  announce?(message: string, run: Run | null): void;
  /** Whether news are wanted while the tab is hidden, when there is no stream. */
  wantsHidden?(): boolean;
}

export class Observer {
  constructor(
    private readonly live: IPoLive,
    private readonly trans: TranslationBundle,
    private readonly shown: Shown,
    private readonly page: Pick<Document, "hidden"> = document
  ) {
    const stop = live.watch(null, event => this.see(event));
    const timer = setInterval(() => void this.lookHidden(), HIDDEN_EVERY);
    this.stop = () => {
      clearInterval(timer);
      clearTimeout(this.next);
      stop();
    };
  }

  /** Ends the watch. */
  readonly stop: () => void;

  /** A hidden tab holds no stream: it asks now and then, where somebody wants to be told. */
  private async lookHidden(): Promise<void> {
    if (!this.page.hidden || !this.shown.wantsHidden?.()) {
      return;
    }
    try {
      const { runs } = await (await this.live.api()).runs({ limit: HIDDEN_RUNS, no_track_activity: 1 });
      this.tell(this.changes.see({ type: "snapshot", runs }));
    } catch {
      // The next look asks again.
    }
  }

  private see(event: LiveEvent): void {
    this.takeBack(event);
    this.tell(this.changes.see(event));
    switch (event.type) {
      case "snapshot":
        this.runs = new Map(event.runs.map(run => [run.id, run]));
        this.gone.clear();
        void this.askAttention();
        void this.askUsage();
        break;
      case "run":
        this.runs.set(event.run.id, event.run);
        void this.askUsage();
        break;
      case "gone":
        this.runs.delete(event.id);
        this.gone.add(event.id);
        break;
      default:
        return;
    }
    this.show();
  }

  private show(): void {
    const now = counts(this.runs.values());
    this.shown.show(summary(now, this.today, this.trans), now);
  }

  /** Runs that wait for a person, however many are newer than they: a snapshot has only the newest. */
  private async askAttention(): Promise<void> {
    const asked = this.runs;
    try {
      const { runs } = await (await this.live.api()).attention();
      if (asked === this.runs) {
        runs.filter(run => !this.heard(run)).forEach(run => this.runs.set(run.id, run));
        this.show();
      }
    } catch {
      // The next snapshot asks again.
    }
  }

  /** Whether the stream has told as much of the run, or more. */
  private heard(run: Run): boolean {
    return this.gone.has(run.id) || (this.runs.get(run.id)?.last_event ?? -1) >= run.last_event;
  }

  /** Soon after each event, and when a day begins: days are those of UTC, as the server counts them. */
  private async askUsage(): Promise<void> {
    const now = Date.now();
    clearTimeout(this.next);
    const pause = this.asked + USAGE_EVERY - now;
    this.next = setTimeout(() => this.askSeenUsage(), pause > 0 ? pause : DAY - (now % DAY) + 1000);
    if (pause > 0) {
      return;
    }
    this.asked = now;
    try {
      this.today = spentToday(await (await this.live.api()).usage(1));
      this.show();
    } catch {
      // The sum of before stays: the stream says when the server is gone.
    }
  }

  /** The snapshot of a tab that comes back asks for it. */
  private askSeenUsage(): void {
    if (!this.page.hidden) {
      void this.askUsage();
    }
  }

  /** A gate that was decided, wherever, and a failure that was resumed wait for nobody any more. */
  private takeBack(event: LiveEvent): void {
    const runs = event.type === "snapshot" ? event.runs : event.type === "run" ? [event.run] : [];
    const over = runs.filter(run => this.waiting.get(run.id)?.need !== needOf(run)).map(run => run.id);
    for (const id of event.type === "gone" ? [event.id] : over) {
      const notice = this.waiting.get(id);
      if (notice) {
        Notification.dismiss(notice.id);
        this.waiting.delete(id);
      }
    }
  }

  private tell(notices: Notice[]): void {
    const wanted = notices.filter(notice => this.shown.wants(notice.kind));
    if (wanted.length > MOST_NOTICES) {
      const message = this.trans._n("%1 run has news", "%1 runs have news", wanted.length);
      Notification.info(message, { actions: [this.openAction(null)], autoClose: END_STAYS });
      this.shown.announce?.(message, null);
    } else {
      wanted.forEach(notice => this.notify(notice));
    }
  }

  private notify({ kind, run }: Notice): void {
    const name = `${run.pipeline} (${shortId(run.id)})`;
    const actions = [this.openAction(run)];
    const message = this.message(kind, run, name);
    switch (kind) {
      case "end":
        Notification.success(message, { actions, autoClose: END_STAYS });
        break;
      case "failure":
        this.waiting.set(run.id, { id: Notification.error(message, { actions, autoClose: false }), need: needOf(run) });
        break;
      default:
        this.waiting.set(run.id, { id: Notification.warning(message, { actions, autoClose: false }), need: needOf(run) });
    }
    this.shown.announce?.(message, run);
  }

  private message(kind: NoticeKind, run: Run, name: string): string {
    switch (kind) {
      case "end":
        return this.trans.__("%1 is done", name);
      case "failure":
        return withReason(this.trans.__("%1 failed", name), run.error?.message);
      case "gate":
        return withReason(this.trans.__("%1 waits for you", name), run.gate?.message);
      case "disk":
        return withReason(this.trans.__("%1 waits", name), run.waiting);
    }
  }

  private openAction(run: Run | null): Notification.IAction {
    return {
      label: this.trans.__("Open"),
      caption: this.trans.__("Show the run"),
      callback: () => this.shown.open(run)
    };
  }

  private readonly changes = new RunChanges();
  /** Notices that stay until what they ask for is done, by run. */
  private readonly waiting = new Map<string, { id: string; need: string | null }>();
  private runs = new Map<string, Run>();
  private readonly gone = new Set<string>();
  private today: OfLimit | null = null;
  private asked = 0;
  private next: ReturnType<typeof setTimeout> | undefined;
}

/** Lab shows no more of a message than 140 characters. */
function withReason(message: string, reason: string | null | undefined): string {
  return reason ? `${message}: ${reason}` : message;
}
