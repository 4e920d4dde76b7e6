import type { ServerConnection } from "@jupyterlab/services";
import { afterEach, describe, expect, it, vi } from "vitest";

const broken = vi.hoisted(() => ({ times: 0 }));
vi.mock("../../api/client.js", () => ({
  Api: class {
    constructor() {
      if (broken.times-- > 0) {
        throw new Error("ChunkLoadError");
      }
    }
    events = (): Promise<Response> => new Promise(() => undefined);
  },
  explain: () => ({ code: "x", message: "x" })
}));

import type { LiveEvent } from "../../api/events.js";
import { LazyLive } from "../lazy.js";
import { retriable } from "../retriable.js";

const settings = {} as ServerConnection.ISettings;
const page = Object.assign(new EventTarget(), { hidden: true });
vi.stubGlobal("document", page);
afterEach(() => void vi.useRealTimers());

describe("what is loaded when it is first used", () => {
  it("is loaded once, and again after a failure", async () => {
    const load = vi.fn(async () => "it").mockRejectedValueOnce(new Error("away"));
    const get = retriable(load);
    await expect(get()).rejects.toThrow("away");
    expect(await Promise.all([get(), get()])).toEqual(["it", "it"]);
    expect(load).toHaveBeenCalledTimes(2);
  });

  it("is asked for again by the next use of the API", async () => {
    broken.times = 1;
    const live = new LazyLive(settings);
    await expect(live.api()).rejects.toThrow("ChunkLoadError");
    await expect(live.api()).resolves.toBeDefined();
  });

  it("says to who watches that it is lost, and watches when it was loaded after all", async () => {
    vi.useFakeTimers();
    for (const again of [(live: LazyLive) => live.retryNow(), () => vi.advanceTimersByTime(10_000)]) {
      broken.times = 1;
      const live = new LazyLive(settings);
      const heard: LiveEvent[] = [];
      const stop = live.watch(null, event => heard.push(event));
      await vi.advanceTimersByTimeAsync(10);
      expect(heard).toMatchObject([{ type: "link", link: { state: "lost" } }]);
      again(live);
      await vi.advanceTimersByTimeAsync(10);
      expect(heard.at(-1)).toEqual({ type: "link", link: { state: "idle" } });
      stop();
      expect(vi.getTimerCount()).toBe(0);
    }
  });
});
