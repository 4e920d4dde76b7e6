/** The live feed as other plugins get it: its code is loaded, and the server asked, when somebody first wants it. */

import type { ServerConnection } from "@jupyterlab/services";
import type { Api } from "../api/client.js";
import type { LiveEvent } from "../api/events.js";
import { unreachable } from "../api/errors.js";
import type { IPoLive } from "../tokens.js";
import type { Feed } from "./feed.js";
import { retriable } from "./retriable.js";

/** Milliseconds until the feed's code is asked for again. */
const RETRY = 10_000;

export class LazyLive implements IPoLive {
  constructor(private readonly settings: ServerConnection.ISettings) {}

  async api(): Promise<Api> {
    return (await this.load()).api;
  }

  private begun: () => void = () => undefined;
  readonly firstWatch = new Promise<void>(resolve => (this.begun = resolve));

  watch(run: string | null, watcher: (event: LiveEvent) => void): () => void {
    this.begun();
    let stop: (() => void) | null = null;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let ended = false;
    const begin = (): void => {
      clearTimeout(timer);
      this.failed.delete(begin);
      this.load().then(
        ({ feed }) => {
          if (!ended) {
            stop = feed.watch(run, watcher);
          }
        },
        () => {
          if (!ended) {
            this.failed.add(begin);
            timer = setTimeout(begin, RETRY);
            watcher({ type: "link", link: { state: "lost", problem: unreachable(), retryAt: Date.now() + RETRY } });
          }
        }
      );
    };
    begin();
    return () => {
      ended = true;
      clearTimeout(timer);
      this.failed.delete(begin);
      stop?.();
    };
  }

  retryNow(): void {
    if (this.failed.size) {
      [...this.failed].forEach(begin => begin());
    } else {
      void this.load().then(({ feed }) => feed.retryNow(), () => undefined);
    }
  }

  private readonly load = retriable(async (): Promise<{ api: Api; feed: Feed }> => {
    const [client, live] = await Promise.all([import("../api/client.js"), import("./feed.js")]);
    const api = new client.Api(this.settings);
    return { api, feed: new live.Feed(signal => api.events(signal), client.explain, document, () => api.sharedRuns()) };
  });

  /** Watches whose feed could not be loaded. */
  private readonly failed = new Set<() => void>();
}
