// @vitest-environment jsdom
import { nullTranslator } from "@jupyterlab/translation";
import * as React from "react";
import { act } from "react";
import { createRoot } from "react-dom/client";
import type { Root } from "react-dom/client";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { aRun, aTask } from "../../../state/__tests__/samples.js";
import { PageProvider } from "../context.js";
import type { Page } from "../context.js";
import { FRESH } from "../pageState.js";
import { RowDetail } from "../rows/RowDetail.js";
import type { RunSource } from "../source.js";
import { TasksTab } from "../tasks/TasksTab.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

let host: HTMLElement;
let root: Root;

beforeEach(() => {
  vi.useFakeTimers();
  host = document.body.appendChild(document.createElement("div"));
  root = createRoot(host);
});
afterEach(() => {
  act(() => root.unmount());
  host.remove();
  vi.useRealTimers();
});

async function shown(page: object, content: JSX.Element): Promise<string> {
  const all = { state: FRESH, patch: () => {}, now: 0, speech: null, trans: nullTranslator.load("po_jupyter"), ...page };
  await act(async () => {
    root.render(<PageProvider value={all as unknown as Page}>{content}</PageProvider>);
  });
  for (let turn = 0; turn < 3; turn++) {
    await act(async () => void (await vi.advanceTimersByTimeAsync(500))); // what an answer asks for is drawn with the next
  }
  return host.textContent ?? "";
}

async function drawn(row: object): Promise<string> {
  const source = {
    id: "a",
    row: async () => ({ index: 7, attempts: 1, tokens: 0, cost_usd: 0, seconds: 0, input: "x", output: null, error: null, ...row }),
    expected: async () => [{ scores: ["exact"], value: "a bug", problem: null }]
  } as unknown as RunSource;
  return shown({ run: aRun("a", {}), source }, <RowDetail task="label" index={7} close={() => {}} />);
}

it("says what was expected of a row that failed", async () => {
  const text = await drawn({ state: "failed", error: { message: "no" } });
  expect(text).toContain("Expecteda bug");
  expect(text).not.toContain("Scores");
});

it("says it beside the scores of an answer, and not of one that nothing scores", async () => {
  expect(await drawn({ state: "done", output: "praise", scores: { values: { exact: 0 } } })).toMatch(/Expecteda bug.*Scoresexact0/);
  act(() => root.render(null));
  expect(await drawn({ state: "done", output: "praise" })).not.toContain("Expected");
});

it("counts the calls of a task as the list of calls does, those from the cache too", async () => {
  const usage = { ...aTask("label").usage, calls: 242, cached_calls: 47, input_tokens: 3000, output_tokens: 360 };
  const run = aRun("a", { tasks: [aTask("label", { usage, state: "done" })] });
  const source = { id: "a", timeline: async () => [], pipeline: async () => null } as unknown as RunSource;
  vi.stubGlobal("ResizeObserver", class { observe = vi.fn(); disconnect = vi.fn() });
  expect(await shown({ run, source }, <TasksTab />)).toContain("calls289");
  vi.unstubAllGlobals();
});
