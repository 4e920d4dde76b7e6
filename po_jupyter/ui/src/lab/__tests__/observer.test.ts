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
