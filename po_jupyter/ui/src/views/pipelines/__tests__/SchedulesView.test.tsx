// @vitest-environment jsdom
import * as React from "react";
import { act } from "react";
import { createRoot } from "react-dom/client";
import type { Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Schedule } from "../../../api/answers.js";
import { ApiError } from "../../../api/errors.js";
import { aRun } from "../../../state/__tests__/samples.js";
import { SchedulesView } from "../SchedulesView.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

let host: HTMLElement;
let root: Root;
beforeEach(() => {
  host = document.body.appendChild(document.createElement("div"));
  root = createRoot(host);
});
afterEach(() => {
  act(() => root.unmount());
  host.remove();
});

const press = (label: string, at = 0): Promise<void> =>
  act(async () => [...host.querySelectorAll<HTMLElement>("button")].filter(each => each.textContent === label)[at]!.click());

const one: Schedule = {
  id: "ab12", pipeline: "tickets", cron: "30 7 * * *", timezone: "Europe/Berlin", state: "active", reason: null,
  next_at: "2026-07-02T05:30:00Z",
  last: { slot: "2026-07-01T05:30:00Z", outcome: "run", run: "r", state: "done" }
};
const paused: Schedule = {
  ...one, id: "cd34", pipeline: "letters", state: "paused", reason: "there is no pipeline 'letters'", next_at: null,
  last: { slot: "2026-07-01T05:30:00Z", outcome: "overlap", state: null, note: "run x was still going" }
};

function apiOf(schedules: Schedule[]) {
  return {
    schedules: vi.fn(async () => schedules),
    changeSchedule: vi.fn(async () => {}),
    removeSchedule: vi.fn(async () => {}),
    runSchedule: vi.fn(async () => aRun("r"))
  };
}

async function shown(api: ReturnType<typeof apiOf>, started = vi.fn()): Promise<void> {
  await act(async () => root.render(<SchedulesView api={api as never} started={started} />));
}

describe("schedules", () => {
  it("say when they are due, what became of the last slot, and why they are paused", async () => {
    await shown(apiOf([one, paused]));
    const [first, second] = [...host.querySelectorAll("article")].map(each => each.textContent);
    const at = (iso: string) => new Date(iso).toLocaleString(undefined, { timeZone: "Europe/Berlin" });
    expect(at("2026-07-02T05:30:00Z")).toContain("7:30:00"); // on the clock of the expression
    expect(first).toContain("30 7 * * * · Europe/Berlin");
    expect(first).toContain(`next ${at("2026-07-02T05:30:00Z")}`);
    expect(first).toContain(`last ${at("2026-07-01T05:30:00Z")}: done`);
    expect(second).toContain("paused: there is no pipeline 'letters'");
    expect(second).toContain("passed over · run x was still going");
  });

  it("are paused and resumed", async () => {
    const api = apiOf([one, paused]);
    await shown(api);
    await press("Pause");
    await press("Resume");
    expect(api.changeSchedule.mock.calls).toEqual([["ab12", { paused: true }], ["cd34", { paused: false }]]);
    expect(api.schedules).toHaveBeenCalledTimes(3);
  });

  it("start a run, or say why not", async () => {
    const [api, started] = [apiOf([one]), vi.fn()];
    await shown(api, started);
    await press("Run now");
    expect(started).toHaveBeenCalledOnce();
    const refusal = { code: "conflict", message: "there is no new file", hint: "", details: {} };
    api.runSchedule.mockRejectedValue(new ApiError(refusal as never));
    await press("Run now");
    expect(host.textContent).toContain("there is no new file");
  });

  it("take no room where there are none", async () => {
    await shown(apiOf([]));
    expect(host.textContent).toBe("");
  });
});
