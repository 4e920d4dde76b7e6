/** The live feed as other plugins get it: its code is loaded, and the server asked, when somebody first wants it. */

import type { ServerConnection } from "@jupyterlab/services";
import type { Api } from "../api/client.js";
import type { LiveEvent } from "../api/events.js";
import type { IPoLive } from "../tokens.js";
import type { Feed } from "./feed.js";

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
    let ended = false;
    void this.load().then(({ feed }) => {
      if (!ended) {
        stop = feed.watch(run, watcher);
      }
    });
    return () => {
      ended = true;
      stop?.();
    };
  }

  retryNow(): void {
    void this.loaded?.then(({ feed }) => feed.retryNow());
  }

  private load(): Promise<{ api: Api; feed: Feed }> {
    this.loaded ??= Promise.all([import("../api/client.js"), import("./feed.js")]).then(([client, live]) => {
      const api = new client.Api(this.settings);
      return { api, feed: new live.Feed(signal => api.events(signal), client.explain) };
    });
    return this.loaded;
  }

  private loaded: Promise<{ api: Api; feed: Feed }> | null = null;
}
