import { describe, expect, it, vi } from "vitest";
import type { LiveEvent } from "../../api/events.js";
import type { Run } from "../../api/types.js";
import { aRun } from "../../state/__tests__/samples.js";
import { Store } from "../../state/store.js";
import { Feed } from "../feed.js";

class Page extends EventTarget {
  hidden = false;
  hide(hidden: boolean): void {
    this.hidden = hidden;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

/** A server that answers each request with a stream that the test writes into. */
class Server {
  readonly open = new Set<AbortSignal>();
  requests = 0;
  private sink: ReadableStreamDefaultController<Uint8Array> | null = null;

  readonly answer = (signal: AbortSignal): Promise<Response> => {
    this.requests += 1;
    this.open.add(signal);
    const body = new ReadableStream<Uint8Array>({
      start: sink => {
        this.sink = sink;
        signal.addEventListener("abort", () => {
          this.open.delete(signal);
          sink.error(new Error("aborted"));
        });
      }
    });
    return Promise.resolve(new Response(body));
  };

  async send(event: string, data: unknown): Promise<void> {
    this.sink!.enqueue(new TextEncoder().encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`));
    await settled();
  }
}

const settled = (): Promise<void> => new Promise(resolve => setTimeout(resolve, 5));
const run = (id: string): Run => ({ id, last_event: 1 }) as Run;
const explain = (): { code: string; message: string } => ({ code: "lost", message: "lost" });

describe("the one feed of a tab", () => {
  it("has one connection for all views, and none when the last one goes or the tab is hidden", async () => {
    const [server, page] = [new Server(), new Page()];
    const feed = new Feed(server.answer, explain, page as unknown as Document);
    expect(server.requests).toBe(0);
    const stops = [feed.watch(null, () => undefined), feed.watch("a", () => undefined)];
    await settled();
    expect(server.open.size).toBe(1);
    page.hide(true);
    expect(server.open.size).toBe(0);
    page.hide(false);
    await settled();
    expect(server.open.size).toBe(1);
    stops[0]!();
    expect(server.open.size).toBe(1);
    stops[1]!();
    expect(server.open.size).toBe(0);
    expect(server.requests).toBe(2);
  });

  it("tells a view of one run what concerns that run only, and a late one what is known", async () => {
    const server = new Server();
    const feed = new Feed(server.answer, explain, new Page() as unknown as Document);
    const heard: LiveEvent[] = [];
    const stop = feed.watch(null, () => undefined);
    await settled();
    await server.send("snapshot", { runs: [run("a"), run("b")], limit: 4 });
    const stopOne = feed.watch("a", event => heard.push(event));
    await settled();
    await server.send("run", { run: run("b") });
    await server.send("text", { run: "a", task: "t", text: "hello" });
    await server.send("gone", { id: "a" });
    expect(heard.map(event => event.type)).toEqual(["link", "run", "text", "gone"]);
    const late: LiveEvent[] = [];
    const stopLate = feed.watch(null, event => late.push(event));
    await settled();
    expect(late).toEqual([
      { type: "link", link: { state: "live" } },
      { type: "snapshot", runs: [run("b")], limit: 4, complete: expect.any(String) }
    ]);
    [stop, stopOne, stopLate].forEach(end => end());
    expect(server.open.size).toBe(0);
  });

  it("lets a panel that is opened again keep its history when an old run had changed", async () => {
    const aged = (id: string, day: string): Run => aRun(id, { state: "done", created_at: `2026-11-${day}T12:00:00Z` });
    const [server, store] = [new Server(), new Store()];
    const feed = new Feed(server.answer, explain, new Page() as unknown as Document);
    const other = feed.watch(null, () => undefined);
    const first = feed.watch(null, store.dispatch);
    await settled();
    await server.send("snapshot", { runs: [aged("new", "22"), aged("newer", "23")], limit: 4 });
    store.dispatch({ type: "found", runs: [aged("history", "10"), aged("old", "01")] });
    store.dispatch({ type: "toggle", id: "history" });
    first();
    await server.send("run", { run: aged("old", "01") });
    await server.send("gone", { id: "new" });
    const second = feed.watch(null, store.dispatch);
    await settled();
    expect(store.get().order, "only what was removed is gone").toEqual(["newer", "history", "old"]);
    expect(store.get().expanded).toEqual({ history: true });
    [other, second].forEach(stop => stop());
  });

  it("lets the others hear when one view fails", async () => {
    const complaint = vi.spyOn(console, "error").mockReturnValue(undefined);
    const server = new Server();
    const feed = new Feed(server.answer, explain, new Page() as unknown as Document);
    const heard: string[] = [];
    const stops = [
      feed.watch(null, event => {
        if (event.type === "run") {
          throw new Error("a fault in a view");
        }
      }),
      feed.watch(null, event => heard.push(event.type))
    ];
    await settled();
    await server.send("snapshot", { runs: [] });
    await server.send("run", { run: run("a") });
    expect(heard).toContain("run");
    expect(complaint).toHaveBeenCalledOnce();
    complaint.mockRestore();
    stops.forEach(stop => stop());
  });
});
