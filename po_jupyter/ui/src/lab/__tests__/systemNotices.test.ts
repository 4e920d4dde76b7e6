// @vitest-environment jsdom
import { nullTranslator } from "@jupyterlab/translation";
import { beforeEach, expect, it, vi } from "vitest";

const lab = vi.hoisted(() => ({ warning: vi.fn(), info: vi.fn(), success: vi.fn(), error: vi.fn() }));
vi.mock("@jupyterlab/apputils", () => ({ Notification: lab }));

import type { LiveEvent } from "../../api/events.js";
import { aRun } from "../../state/__tests__/samples.js";
import type { IPoLive } from "../../tokens.js";
import { Observer } from "../observer.js";
import type { SystemNotification } from "../systemNotices.js";
import { SystemNotices } from "../systemNotices.js";

const trans = nullTranslator.load("po_jupyter");
const run = aRun("a");

/** A browser with that permission, and what it showed. */
function browser(permission: string, answer = permission) {
  const shown: { body: string; onclick: (() => void) | null; close: () => void }[] = [];
  class System {
    static permission = permission;
    static requestPermission = vi.fn(async () => (System.permission = answer));
    onclick: (() => void) | null = null;
    readonly close = vi.fn();
    readonly body: string;
    constructor(_title: string, { body }: { body: string }) {
      this.body = body;
      shown.push(this);
    }
  }
  return { system: System as unknown as SystemNotification, shown, requested: System.requestPermission };
}
const page = (hidden: boolean, focused: boolean) => ({ hidden, hasFocus: () => focused });

beforeEach(() => vi.clearAllMocks());

it("is shown when the person looks elsewhere, and opens the run", () => {
  const [{ system, shown, requested }, open] = [browser("granted"), vi.fn()];
  new SystemNotices(trans, open, system, page(false, true)).tell("a is done", run);
  expect(shown).toEqual([]);
  new SystemNotices(trans, open, system, page(false, false)).tell("a is done", run);
  new SystemNotices(trans, open, system, page(true, false)).tell("b is done", run);
  expect(shown.map(each => each.body)).toEqual(["a is done", "b is done"]);
  vi.spyOn(window, "focus").mockImplementation(() => undefined);
  shown[0]!.onclick!();
  expect(open).toHaveBeenCalledWith(run);
  expect(requested).not.toHaveBeenCalled();
});

it("is left out where a page may not show it by itself, as in Chrome for Android", () => {
  const told = vi.fn();
  class Mobile {
    static permission = "granted";
    constructor() {
      told();
      throw new TypeError("Failed to construct 'Notification': Illegal constructor. Use ServiceWorkerRegistration.showNotification() instead.");
    }
  }
  const notices = new SystemNotices(trans, vi.fn(), Mobile as unknown as SystemNotification, page(true, false));
  notices.tell("a is done", run);
  notices.tell("b is done", run);
  expect(told).toHaveBeenCalledOnce(); // it is not tried again
  expect(lab.warning).not.toHaveBeenCalled();
});

it("asks for leave when it is turned on, and says what to do where the browser refuses", async () => {
  const yes = browser("default", "granted");
  await new SystemNotices(trans, vi.fn(), yes.system, page(true, false)).ask();
  expect(yes.requested).toHaveBeenCalledOnce();
  expect(lab.warning).not.toHaveBeenCalled();
  await new SystemNotices(trans, vi.fn(), browser("default", "denied").system, page(true, false)).ask();
  expect(lab.warning).toHaveBeenCalledOnce();
  await new SystemNotices(trans, vi.fn(), null, page(true, false)).ask();
  expect(lab.warning).toHaveBeenCalledTimes(2);
});

it("never asks by itself: another browser offers a button, once", () => {
  const { system, shown, requested } = browser("default", "granted");
  const notices = new SystemNotices(trans, vi.fn(), system, page(true, false));
  notices.tell("a is done", run);
  notices.tell("b is done", run);
  expect(requested).not.toHaveBeenCalled();
  expect(shown).toEqual([]);
  expect(lab.info).toHaveBeenCalledOnce();
  lab.info.mock.calls[0]![1].actions[0].callback();
  expect(requested).toHaveBeenCalledOnce();
});

it("is silent where it is denied", () => {
  const { system, shown } = browser("denied");
  new SystemNotices(trans, vi.fn(), system, page(true, false)).tell("a is done", run);
  expect([shown, lab.info.mock.calls]).toEqual([[], []]);
});

it("a hidden tab asks now and then, only where news are wanted there", async () => {
  vi.useFakeTimers();
  let say: (event: LiveEvent) => void = () => undefined;
  const api = {
    runs: vi.fn(async () => ({ runs: [aRun("a", { state: "done" })], next: null })),
    attention: async () => ({ runs: [], total: 0 }),
    usage: async () => ({ total: { cost: 0 } })
  };
  const live = { api: async () => api, watch: (_: unknown, watcher: typeof say) => ((say = watcher), () => undefined) };
  const [hidden, announce] = [{ hidden: false }, vi.fn()];
  let wanted = false;
  const shown = { show: vi.fn(), open: vi.fn(), wants: () => true, announce, wantsHidden: () => wanted };
  const observer = new Observer(live as unknown as IPoLive, trans, shown, hidden);
  say({ type: "snapshot", runs: [aRun("a")] });
  await vi.advanceTimersByTimeAsync(60_000);
  hidden.hidden = true;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(api.runs).not.toHaveBeenCalled();
  wanted = true;
  await vi.advanceTimersByTimeAsync(60_000);
  expect(api.runs).toHaveBeenCalledTimes(2);
  expect(announce.mock.calls.map(([message]) => message)).toEqual(["tickets (a) is done"]);
  observer.stop();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(api.runs).toHaveBeenCalledTimes(2);
  vi.useRealTimers();
});
