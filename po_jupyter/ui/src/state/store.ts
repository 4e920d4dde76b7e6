/** Holds the state and tells the view once a frame, however many events arrive in it. */

import { EMPTY, reduce } from "./reducer.js";
import type { Action, State } from "./reducer.js";

export class Store {
  readonly get = (): State => this.state;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly dispatch = (action: Action): void => {
    this.state = reduce(this.state, action);
    if (!this.scheduled) {
      this.scheduled = true;
      // Not requestAnimationFrame: a hidden tab gets no frames, and its last word would stay unheard.
      setTimeout(this.tell, 16);
    }
  };

  private readonly tell = (): void => {
    this.scheduled = false;
    for (const listener of this.listeners) {
      listener();
    }
  };

  private state = EMPTY;
  private scheduled = false;
  private readonly listeners = new Set<() => void>();
}
