import { nullTranslator } from "@jupyterlab/translation";
import { expect, it, vi } from "vitest";

vi.mock("@jupyterlab/apputils", () => ({ Notification: { warning: vi.fn(), info: vi.fn(), success: vi.fn(), error: vi.fn() } }));

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
