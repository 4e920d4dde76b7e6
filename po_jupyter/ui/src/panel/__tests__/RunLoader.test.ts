import { describe, expect, it } from "vitest";
import type { Api } from "../../api/client.js";
import { ApiError } from "../../api/errors.js";
import type { Run } from "../../api/types.js";
import { aRun } from "../../state/__tests__/samples.js";
import { NO_FILTERS } from "../../state/filters.js";
import { Store } from "../../state/store.js";
import { RunLoader } from "../RunLoader.js";

type Query = Record<string, unknown>;

/** 250 ended runs in pages, one that waits, and what was asked for. */
class Server {
  readonly asked: Query[] = [];
  fails = false;
  /** Runs that need a person, of which one is listed. */
  total = 1;

  readonly api = {
    attention: async () => ({ runs: [aRun("gate", { state: "waiting", created_at: "2020-01-01T00:00:00Z" })], total: this.total }),
    runs: async (query: Query = {}) => {
      this.asked.push(query);
      if (this.fails) {
        throw new ApiError({ code: "unavailable", message: "not now" });
      }
      if (query.state === "pending,running,waiting") {
        return { runs: [], next: null };
      }
      const start = Number(query.cursor ?? 0);
      const end = start + Number(query.limit);
      return { runs: this.all.slice(start, end), next: end < this.all.length ? String(end) : null };
    }
  } as unknown as Api;

  /** `count` new runs. */
  come(count: number): void {
    const later = Array.from({ length: count }, (_, n) =>
      aRun(`s${999 - n}`, { state: "done", created_at: new Date(Date.UTC(2026, 0, 3) - n * 1000).toISOString() })
    );
    this.all.unshift(...later);
  }

  readonly all: Run[] = Array.from({ length: 250 }, (_, n) =>
    aRun(`r${999 - n}`, { state: "done", created_at: new Date(Date.UTC(2026, 0, 2) - n * 1000).toISOString() })
  );
}

it("counts the runs that need a person and are not listed", async () => {
  const [server, store] = [new Server(), new Store()];
  const loader = new RunLoader(server.api, store);
  server.total = 131;
  await loader.refresh();
  expect(store.get().moreAttention).toBe(130);
  server.total = 1;
  await loader.refresh();
  expect(store.get().moreAttention).toBe(0);
});

describe("the history is read page by page", () => {
  it("once for each page, to the end", async () => {
    const [server, store] = [new Server(), new Store()];
    const loader = new RunLoader(server.api, store);
    await loader.refresh();
    expect(store.get().order).toHaveLength(101);
    await Promise.all([loader.older(), loader.older()]);
    expect(store.get().order).toHaveLength(201);
    await loader.older();
    expect([store.get().order.length, store.get().history.next]).toEqual([251, null]);
    const before = server.asked.length;
    await loader.older();
    expect(server.asked).toHaveLength(before);
  });

  it("keeps its place when the stream comes back", async () => {
    const [server, store] = [new Server(), new Store()];
    const loader = new RunLoader(server.api, store);
    await loader.refresh();
    await loader.older();
    await loader.refresh();
    expect(server.asked.map(query => query.cursor).filter(Boolean)).toEqual(["100"]);
    expect(store.get().order).toHaveLength(201);
  });

  it("is read from the top again when more runs came than a snapshot has", async () => {
    const [server, store] = [new Server(), new Store()];
    const loader = new RunLoader(server.api, store);
    const snapshot = (): void =>
      store.dispatch({ type: "snapshot", runs: server.all.slice(0, 50) });
    snapshot();
    await loader.refresh();
    await loader.older();
    snapshot();
    expect(store.get().history.next, "it meets what is known").toBe("200");
    server.come(120);
    snapshot();
    await loader.refresh();
    expect(store.get().history).toMatchObject({ next: "100", loading: false });
    await loader.older();
    expect(store.get().order).toHaveLength(321);
  });

  it("asks anew under other filters, and says what went wrong", async () => {
    const [server, store] = [new Server(), new Store()];
    const loader = new RunLoader(server.api, store);
    await loader.refresh();
    server.fails = true;
    loader.filter({ ...NO_FILTERS, q: "x" });
    await new Promise(resolve => setTimeout(resolve));
    expect(server.asked.at(-1)).toMatchObject({ q: "x", cursor: undefined });
    expect(store.get().history.problem?.message).toBe("not now");
    server.fails = false;
    await loader.older();
    expect(store.get().history).toMatchObject({ problem: null, next: "100" });
  });
});
