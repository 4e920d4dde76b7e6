import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

vi.mock("../../api/errors.js", () => ({
  explain: (error: { failure: unknown }) => error.failure
}));

import type { LiveEvent } from "../../api/events.js";
import type { Run } from "../../api/types.js";
import type { IPoLive } from "../../tokens.js";
import { RUN_MIME, WIDGET_MIME } from "../content.js";
import { Following } from "../following.js";
import type { OutputModel } from "../following.js";

const ID = "r1";
const PATIENCE = 4000;

function view(state: string, last_event: number): Run {
  return { id: ID, name: "n", state, tasks: [], last_event, created_at: "", updated_at: "" } as unknown as Run;
}

function bundle(state: string, last_event: number, more: object = {}): Record<string, unknown> {
  const content = { version: 1, run: ID, view: view(state, last_event), at: "2026-11-26T22:14:00Z", results: [], hidden: {} };
  return { [RUN_MIME]: content, "text/html": state, "text/plain": state, ...more };
}

class Output implements OutputModel {
  written = 0;
  following: Following | null = null;
  constructor(
    public data: Record<string, unknown>,
    public trusted = true
  ) {}
  setData(options: { data: Record<string, unknown> }): void {
    this.data = options.data;
    this.written += 1;
    this.following?.show(this); // as Lab does
  }
}

/** A server that has `now`, and a stream that the test speaks in. */
class Server implements IPoLive {
  firstWatch = Promise.resolve();
  watchers = new Set<(event: LiveEvent) => void>();
  asked = 0;
  now: Record<string, unknown> | { failure: unknown } = bundle("running", 1);
  api = async (): Promise<never> =>
    ({
      display: async () => {
        this.asked += 1;
        if ("failure" in this.now) {
          throw this.now;
        }
        return this.now;
      }
    }) as never;
  watch(_run: string | null, watcher: (event: LiveEvent) => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }
  retryNow(): void {}
  async tell(event: LiveEvent): Promise<void> {
    this.watchers.forEach(watcher => watcher(event));
    await vi.advanceTimersByTimeAsync(50);
  }
  connect(): Promise<void> {
    return this.tell({ type: "link", link: { state: "live" } });
  }
}

function shown(server: Server, model: Output): Following {
  const following = new Following(server, PATIENCE);
  model.following = following;
  following.show(model);
  return following;
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("an output that follows its run", () => {
  it("shows what the file has and asks nothing before somebody looks", () => {
    const server = new Server();
    const following = shown(server, new Output(bundle("running", 1)));
    expect(following.get()).toMatchObject({ standing: "unseen", run: { state: "running" } });
    expect(server.watchers.size + server.asked).toBe(0);
  });

  it("asks nothing for a notebook that is not trusted, also when somebody looks", async () => {
    const server = new Server();
    const model = new Output(bundle("running", 1), false);
    const following = shown(server, model);
    following.see(true);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(following.get().standing).toBe("untrusted");
    expect(server.watchers.size + server.asked + model.written).toBe(0);
    model.trusted = true;
    following.show(model);
    expect(server.watchers.size).toBe(1);
  });

  it("is of now while it is seen, and stops to ask when it is not", async () => {
    const server = new Server();
    const following = shown(server, new Output(bundle("running", 1)));
    following.see(true);
    await server.connect();
    expect(following.get()).toMatchObject({ standing: "live", run: { last_event: 1 } });
    await server.tell({ type: "run", run: view("running", 5) });
    expect(following.get().run!.last_event).toBe(5);
    following.see(false);
    expect(server.watchers.size).toBe(0);
  });

  it("shows a run that is not in the stream any more", async () => {
    const server = new Server();
    server.now = bundle("done", 9);
    const following = shown(server, new Output(bundle("running", 1)));
    following.see(true);
    await server.connect();
    expect(following.get()).toMatchObject({ standing: "live", run: { state: "done" } });
  });

  it("writes the end into the notebook when no kernel does, once, and without the widget", async () => {
    const server = new Server();
    const model = new Output(bundle("running", 1, { [WIDGET_MIME]: { model_id: "gone" }, "image/png": "other" }));
    const following = shown(server, model);
    following.see(true);
    await server.connect();
    server.now = bundle("done", 9);
    await server.tell({ type: "run", run: view("done", 9) });
    expect(model.written).toBe(0);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(model.written).toBe(1);
    expect(model.data).toMatchObject({ "text/html": "done", "image/png": "other" });
    expect(model.data).not.toHaveProperty([WIDGET_MIME]);
  });

  it("leaves it to a kernel that does it", async () => {
    const server = new Server();
    const model = new Output(bundle("running", 1));
    const following = shown(server, model);
    following.see(true);
    await server.connect();
    server.now = bundle("done", 9);
    await server.tell({ type: "run", run: view("done", 9) });
    model.data = bundle("done", 9, { "text/plain": "the kernel's" });
    following.show(model);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(model.written).toBe(0);
  });

  it("does not change the notebook while the run goes on, or when the file is right", async () => {
    const server = new Server();
    const [running, done] = [new Output(bundle("running", 1)), new Output(bundle("done", 9))];
    for (const model of [running, done]) {
      server.now = model === done ? bundle("done", 9) : bundle("running", 7);
      const following = shown(server, model);
      following.see(true);
      await server.connect();
      await vi.advanceTimersByTimeAsync(60_000);
      following.dispose();
      expect(model.written).toBe(0);
    }
  });

  it("is not put back by what comes late", async () => {
    const server = new Server();
    const model = new Output(bundle("running", 1));
    const following = shown(server, model);
    following.see(true);
    await server.tell({ type: "run", run: view("done", 9) });
    model.data = bundle("running", 5);
    following.show(model);
    await vi.advanceTimersByTimeAsync(50);
    expect(following.get().run!.state).toBe("done");
  });

  it("says of when it is when the server does not answer, and comes back", async () => {
    const server = new Server();
    const following = shown(server, new Output(bundle("running", 1)));
    following.see(true);
    await server.connect();
    const problem = { code: "unreachable", message: "gone" };
    await server.tell({ type: "link", link: { state: "lost", problem, retryAt: 0 } });
    expect(following.get()).toMatchObject({ standing: "lost", problem });
    expect(Date.now() - following.get().at).toBeLessThan(1000);
    await server.connect();
    expect(following.get()).toMatchObject({ standing: "live", problem: null });
  });

  it("keeps what the file has of a run that the server does not have", async () => {
    const server = new Server();
    server.now = { failure: { code: "not_found", message: "there is no run" } };
    const following = shown(server, new Output(bundle("done", 9)));
    following.see(true);
    await server.connect();
    expect(following.get()).toMatchObject({ standing: "missing", run: { state: "done" } });
  });

  it("shows another run when the cell is run again", async () => {
    const server = new Server();
    const model = new Output(bundle("done", 9));
    const following = shown(server, model);
    following.see(true);
    const other = bundle("running", 1);
    (other[RUN_MIME] as { run: string }).run = "r2";
    model.data = other;
    following.show(model);
    expect(following.get().run).toMatchObject({ id: "r2", state: "running" });
    expect(server.watchers.size).toBe(1);
  });

  it("says of when it is after the browser's tab was hidden, until the server has answered again", async () => {
    const server = new Server();
    const following = shown(server, new Output(bundle("running", 1)));
    following.see(true);
    await server.connect();
    const hidden = Date.now();
    await server.tell({ type: "link", link: { state: "idle" } });
    await vi.advanceTimersByTimeAsync(600_000);
    expect(following.get()).toMatchObject({ standing: "unseen", at: hidden });
    await server.tell({ type: "link", link: { state: "connecting" } });
    expect(following.get()).toMatchObject({ standing: "connecting", at: hidden, slow: false });
    await vi.advanceTimersByTimeAsync(2_000);
    expect(following.get().slow).toBe(true);
    await server.connect();
    expect(following.get().standing).toBe("live");
  });

  it("is not of now when an answer comes after the link was lost", async () => {
    const server = new Server();
    const following = shown(server, new Output(bundle("running", 1)));
    following.see(true);
    server.watchers.forEach(watcher => {
      watcher({ type: "link", link: { state: "live" } });
      watcher({ type: "link", link: { state: "lost", problem: { code: "x", message: "away" }, retryAt: 0 } });
    });
    await vi.advanceTimersByTimeAsync(50);
    expect(following.get()).toMatchObject({ standing: "lost", problem: { message: "away" } });
  });
});
