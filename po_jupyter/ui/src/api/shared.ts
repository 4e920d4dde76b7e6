/** The shared runs of a hub that were seen, and what one may do with each: they are asked for below `shared/`. */

import type { Run } from "./types.js";

export class SharedRuns {
  /** Whether there is a service of shared runs, as far as was asked. */
  isThere = false;

  /** Take in what the service listed. */
  take(runs: readonly Run[]): void {
    for (const run of runs) {
      this.known.set(run.id, run.may ?? []);
    }
  }

  has(id: string): boolean {
    return this.known.has(id);
  }

  /** The scopes that one has there; undefined for a run of one's own, with which one may do everything. */
  may(id: string): readonly string[] | undefined {
    return this.known.get(id);
  }

  /** Whether a run can be moved among the shared ones: one's own, on a hub that has them. */
  mayMove(run: Pick<Run, "id" | "state" | "may">): boolean {
    return this.isThere && !run.may && !this.has(run.id) && run.state !== "moved";
  }

  /** The run with what one may do. */
  dressed(run: Run): Run {
    const may = this.known.get(run.id);
    return may ? { ...run, may } : run;
  }

  /** Where a path below `po/api/v1/` is asked for. */
  placed(path: string): string {
    const run = idOf(path);
    return run !== null && this.has(run) ? `shared/${path}` : path;
  }

  private readonly known = new Map<string, readonly string[]>();
}

/** The run that a path is about. */
export function idOf(path: string): string | null {
  const found = /^(?:runs|dead-letters)\/([^/?]+)/.exec(path);
  return found ? decodeURIComponent(found[1]!) : null;
}
