/** Something that is asked of the server, and again when the run went on. */

import * as React from "react";
import { explain } from "../../api/client.js";
import type { Failure } from "../../api/types.js";

/** Milliseconds between two loads of the same thing while a run goes on. */
const PAUSE = 1500;

export interface Resource<T> {
  /** The newest answer; undefined until the first one. */
  value: T | undefined;
  problem: Failure | null;
  again: () => void;
}

/** Asks again when something changed: one request at a time, and after the last change once more. */
class Renewal {
  constructor(private readonly load: (signal: AbortSignal) => Promise<void>) {}

  /** `pause`: milliseconds between the last beginning and the next. */
  ask(pause = PAUSE): void {
    if (this.running) {
      this.changed = true;
      return;
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.begin(), Math.max(0, this.begun + pause - Date.now()));
  }

  end(): void {
    clearTimeout(this.timer);
    this.ended.abort();
  }

  private async begin(): Promise<void> {
    this.running = true;
    this.changed = false;
    this.begun = Date.now();
    await this.load(this.ended.signal);
    this.running = false;
    if (this.changed && !this.ended.signal.aborted) {
      this.ask();
    }
  }

  private readonly ended = new AbortController();
  private begun = 0;
  private running = false;
  private changed = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
}

/**
 * Loads when `key` changes (what was there before is forgotten) and when `version` changes (what is shown stays until
 * the newer answer is here), the latter at most every 1.5 s.
 * A request under way is never given up for a newer version: on a slow link no answer would ever come.
 */
export function useResource<T>(
  load: (signal: AbortSignal) => Promise<T>,
  key: string,
  version: number | string
): Resource<T> {
  const [shown, setShown] = React.useState<{ key: string; value?: T; problem: Failure | null }>({ key, problem: null });
  const latest = React.useRef(load);
  latest.current = load;
  const renewal = React.useRef<Renewal>();
  React.useEffect(() => {
    const mine = new Renewal(async signal => {
      try {
        const value = await latest.current(signal);
        if (!signal.aborted) {
          setShown({ key, value, problem: null });
        }
      } catch (error) {
        if (!signal.aborted) {
          setShown(before => ({ ...(before.key === key ? before : { key }), problem: explain(error) }));
        }
      }
    });
    renewal.current = mine;
    return () => mine.end();
  }, [key]);
  React.useEffect(() => renewal.current?.ask(), [key, version]);
  const again = React.useCallback(() => renewal.current?.ask(0), []);
  const current = shown.key === key ? shown : { value: undefined, problem: null };
  return { value: current.value, problem: current.problem, again };
}
