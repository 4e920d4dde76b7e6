/** Asks for the shared runs of a hub now and then, while somebody watches; their service has a stream for each owner. */

import type { Run } from "../api/types.js";
import { hasEnded } from "../api/types.js";

/** Milliseconds between two looks: while some go on, while none does, and while the service does not answer. */
const BUSY = 3_000;
const CALM = 15_000;
const AWAY = 30_000;

export class SharedPoll {
  /** `ask` gives the runs, null where there is no such service. `tell` gets what is new, `gone` the ids that are not there
   * any more; `begin` is called once the first ones are `known`, which is no news. */
  constructor(
    private readonly ask: () => Promise<readonly Run[] | null>,
    private readonly tell: (run: Run) => void,
    private readonly gone: (id: string) => void,
    private readonly begin: () => void
  ) {}

  /** The runs as they were last seen. */
  known: ReadonlyMap<string, Run> = new Map();

  start(): void {
    this.stop();
    const round = ++this.round;
    const look = async (): Promise<void> => {
      const wait = await this.look(() => round === this.round);
      if (wait !== null && round === this.round) {
        this.timer = setTimeout(() => void look(), wait);
      }
    };
    void look();
  }

  stop(): void {
    this.round += 1;
    clearTimeout(this.timer);
  }

  private async look(isCurrent: () => boolean): Promise<number | null> {
    let runs: readonly Run[] | null;
    try {
      runs = await this.ask();
    } catch {
      return AWAY;
    }
    if (runs === null || !isCurrent()) {
      return null;
    }
    const before = this.known;
    const now = new Map(runs.map(run => [run.id, run]));
    this.known = now;
    const isFirst = !this.begun;
    this.begun = true;
    if (isFirst) {
      this.begin();
    }
    const oldest = runs.at(-1)?.created_at ?? "";
    for (const run of before.values()) {
      if (!now.has(run.id) && run.created_at >= oldest) {
        this.gone(run.id);
      }
    }
    for (const run of runs) {
      const old = before.get(run.id);
      if (!isFirst && (!old || old.last_event !== run.last_event || String(old.may) !== String(run.may))) {
        this.tell(run);
      }
    }
    return runs.some(run => !hasEnded(run)) ? BUSY : CALM;
  }

  private begun = false;
  private round = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
}
