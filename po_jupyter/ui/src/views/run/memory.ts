/** Remembers what was set on the pages of runs, in Lab's state database: versioned, and the oldest forgotten. */

import type { IStateDB } from "@jupyterlab/statedb";
import type { ReadonlyPartialJSONValue } from "@lumino/coreutils";
import { readPageState } from "./pageState.js";
import type { PageState } from "./pageState.js";

const KEY = "po-jupyter:run-page";
/** Raised when the saved shape changes; another version's is not read. */
export const VERSION = 1;
export const KEPT = 40;
const PAUSE = 400; // milliseconds without a change before it is written

interface Entry {
  at: number;
  state: PageState;
}

export class Memory {
  constructor(private readonly saved: Pick<IStateDB, "fetch" | "save"> | null) {}

  /** What was set on the page of a run; undefined when nothing is known of it. */
  async recall(run: string): Promise<PageState | undefined> {
    this.loaded ??= this.load();
    await this.loaded;
    return this.pages.get(run)?.state;
  }

  remember(run: string, state: PageState): void {
    this.pages.delete(run);
    this.pages.set(run, { at: Date.now(), state });
    for (const oldest of this.pages.keys()) {
      if (this.pages.size <= KEPT) {
        break;
      }
      this.pages.delete(oldest);
    }
    this.later();
  }

  /** Of a run that is deleted. */
  forget(run: string): void {
    if (this.pages.delete(run)) {
      this.later();
    }
  }

  /** Writes what has not been written yet. */
  async flush(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    const pages = Object.fromEntries(this.pages) as unknown as ReadonlyPartialJSONValue;
    await this.saved?.save(KEY, { version: VERSION, pages });
  }

  private later(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.flush(), PAUSE);
  }

  private async load(): Promise<void> {
    const found = (await this.saved?.fetch(KEY).catch(() => undefined)) as
      | { version?: number; pages?: Record<string, Partial<Entry>> }
      | undefined;
    if (found?.version !== VERSION || typeof found.pages !== "object") {
      return;
    }
    // Pages that were changed while this was being read are newer, and stand last.
    const newer = [...this.pages];
    this.pages.clear();
    const read = Object.entries(found.pages).map(([run, entry]) => [run, Number(entry?.at) || 0, entry?.state] as const);
    for (const [run, at, state] of read.sort((a, b) => a[1] - b[1])) {
      this.pages.set(run, { at, state: readPageState(state) });
    }
    for (const [run, entry] of newer) {
      this.pages.delete(run);
      this.pages.set(run, entry);
    }
  }

  private readonly pages = new Map<string, Entry>();
  private loaded: Promise<void> | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
}
