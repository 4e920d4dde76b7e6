/** Asks the server for what the stream does not tell: runs that need a person, those that go on, and older pages. */

import type { Api } from "../api/client.js";
import { explain } from "../api/client.js";
import type { Filters } from "../state/filters.js";
import { asQuery } from "../state/filters.js";
import type { Store } from "../state/store.js";

/** Runs of one page of the history. */
const PAGE = 100;

export class RunLoader {
  constructor(
    private readonly api: Pick<Api, "runs" | "attention">,
    private readonly store: Store
  ) {}

  /** What is true now, after the stream began or came back. */
  async refresh(): Promise<void> {
    const { filters, history } = this.store.get();
    try {
      const [attention, active] = await Promise.all([
        this.api.attention(),
        this.api.runs({ state: "pending,running,waiting", limit: 200 }),
        history.next === undefined ? this.older() : null
      ]);
      const moreAttention = Math.max(0, attention.total - attention.runs.length);
      this.store.dispatch({ type: "found", runs: [...attention.runs, ...active.runs], moreAttention });
    } catch (error) {
      this.store.dispatch({ type: "unread", filters, problem: explain(error) });
    }
  }

  /** The next page of the history, unless one is on its way or there is none. */
  readonly older = async (): Promise<void> => {
    const { filters, history } = this.store.get();
    if (history.loading || history.next === null) {
      return;
    }
    this.store.dispatch({ type: "reading" });
    try {
      const { runs, next } = await this.api.runs({
        ...asQuery(filters),
        limit: PAGE,
        cursor: history.next
      });
      this.store.dispatch({ type: "page", filters, runs, next });
    } catch (error) {
      this.store.dispatch({ type: "unread", filters, problem: explain(error) });
    }
  };

  readonly filter = (filters: Filters): void => {
    this.store.dispatch({ type: "filter", filters });
    void this.older();
  };
}
