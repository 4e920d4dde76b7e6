import { nullTranslator } from "@jupyterlab/translation";
import { expect, it, vi } from "vitest";

vi.mock("@jupyterlab/apputils", () => ({
  Notification: { warning: vi.fn(() => "gate"), info: vi.fn(), success: vi.fn(), error: vi.fn(() => "failure"), dismiss: vi.fn() }
}));

import { Notification } from "@jupyterlab/apputils";
import type { LiveEvent } from "../../api/events.js";
import type { Run } from "../../api/types.js";
import { aRun } from "../../state/__tests__/samples.js";
import type { IPoLive } from "../../tokens.js";
import { Observer } from "../observer.js";
import type { Counts } from "../summary.js";

it("the badge counts also gates that are older than the runs of a snapshot", async () => {
  const gate = (id: string, last_event: number): Run => aRun(id, { state: "waiting", gate: { task: "t" }, last_event });
  let say: (event: LiveEvent) => void = () => undefined;
  const api = {
    attention: vi.fn(async () => ({ runs: [gate("old", 3), gate("decided", 3), gate("removed", 3)], total: 3 })),
    usage: async () => ({ total: { cost: 0 } })
  };
  const live = { api: async () => api, watch: (_: unknown, watcher: typeof say) => ((say = watcher), () => undefined) };
  const shown: Counts[] = [];
  const trans = nullTranslator.load("po_jupyter");
  const observer = new Observer(live as unknown as IPoLive, trans, { show: (_, now) => shown.push(now), open: vi.fn(), wants: () => false }, { hidden: false });
  say({ type: "snapshot", runs: [aRun("new")] });
  say({ type: "run", run: aRun("decided", { last_event: 4 }) });
  say({ type: "gone", id: "removed" });
  await vi.waitFor(() => expect(shown.at(-1)).toEqual({ running: 2, waiting: 1 }));
  expect(api.attention).toHaveBeenCalledOnce();
  observer.stop();
});

it("says of today what the gateway of a hub says, shared runs among it", async () => {
  let say: (event: LiveEvent) => void = () => undefined;
  const today = { usd: { used: 0.4, limit: 2 }, tokens: { used: 1, limit: null } };
  const api = { attention: async () => ({ runs: [], total: 0 }), usage: async () => ({ total: { cost: 0.1 }, today }) };
  const live = { api: async () => api, watch: (_: unknown, watcher: typeof say) => ((say = watcher), () => undefined) };
  const texts: string[] = [];
  const shown = { show: (text: string) => texts.push(text), open: vi.fn(), wants: () => false };
  const observer = new Observer(live as unknown as IPoLive, nullTranslator.load("po_jupyter"), shown, { hidden: false });
  say({ type: "snapshot", runs: [] });
  await vi.waitFor(() => expect(texts.at(-1)).toBe("$0.400 of $2.00 today"));
  observer.stop();
});

it("takes the notice of a gate back when it is decided, wherever", () => {
  let say: (event: LiveEvent) => void = () => undefined;
  const api = { attention: async () => ({ runs: [], total: 0 }), usage: async () => ({ total: { cost: 0 } }) };
  const live = { api: async () => api, watch: (_: unknown, watcher: typeof say) => ((say = watcher), () => undefined) };
  const shown = { show: vi.fn(), open: vi.fn(), wants: () => true };
  const observer = new Observer(live as unknown as IPoLive, nullTranslator.load("po_jupyter"), shown, { hidden: false });
  const gate = { state: "waiting", gate: { task: "t" } } as const;
  say({ type: "snapshot", runs: [aRun("a")] });
  say({ type: "run", run: aRun("a", { ...gate, last_event: 2 }) });
  expect(Notification.warning).toHaveBeenCalledOnce();
  say({ type: "run", run: aRun("a", { ...gate, last_event: 3 }) });
  expect(Notification.dismiss).not.toHaveBeenCalled();
  say({ type: "run", run: aRun("a", { state: "running", last_event: 4 }) });
  expect(Notification.dismiss).toHaveBeenCalledExactlyOnceWith("gate");
  observer.stop();
});

it("says what today cost soon after the last event, and begins anew with the day", async () => {
  vi.useFakeTimers({ now: Date.UTC(2026, 0, 1, 23, 50) });
  let say: (event: LiveEvent) => void = () => undefined;
  let cost = 0.5;
  const usage = vi.fn(async () => ({ total: { cost } }));
  const api = { attention: async () => ({ runs: [], total: 0 }), usage };
  const live = { api: async () => api, watch: (_: unknown, watcher: typeof say) => ((say = watcher), () => undefined) };
  const texts: string[] = [];
  const page = { hidden: false };
  const observer = new Observer(live as unknown as IPoLive, nullTranslator.load("po_jupyter"), { show: text => texts.push(text), open: vi.fn(), wants: () => false }, page);
  say({ type: "snapshot", runs: [aRun("a")] });
  await vi.advanceTimersByTimeAsync(0);
  expect(texts.at(-1)).toContain("$0.500 today");
  cost = 1.2;
  for (const last_event of [2, 3, 4]) {
    say({ type: "run", run: aRun("a", { last_event, state: last_event === 4 ? "done" : "running" }) });
  }
  await vi.advanceTimersByTimeAsync(15_000);
  expect(texts.at(-1)).toContain("$1.20 today");
  expect(usage.mock.calls.length).toBeLessThanOrEqual(3);
  const asked = usage.mock.calls.length;
  cost = 0;
  await vi.advanceTimersByTimeAsync(5 * 60_000);
  expect(usage).toHaveBeenCalledTimes(asked); // nothing happens: nothing is asked
  await vi.advanceTimersByTimeAsync(6 * 60_000);
  expect(texts.at(-1)).not.toContain("today");
  page.hidden = true;
  const before = usage.mock.calls.length;
  say({ type: "run", run: aRun("a", { last_event: 9 }) });
  await vi.advanceTimersByTimeAsync(48 * 3600_000);
  expect(usage.mock.calls.length).toBeLessThanOrEqual(before + 1);
  observer.stop();
  await vi.advanceTimersByTimeAsync(0);
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});
