// @vitest-environment jsdom
import { nullTranslator } from "@jupyterlab/translation";
import * as React from "react";
import { act } from "react";
import { createRoot } from "react-dom/client";
import type { Root } from "react-dom/client";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { LiveEvent } from "../../../api/events.js";
import { aRun } from "../../../state/__tests__/samples.js";
import type { IPoLive } from "../../../tokens.js";
import { CompareTab } from "../compare/CompareTab.js";
import { PageProvider } from "../context.js";
import type { Page } from "../context.js";
import { FRESH } from "../pageState.js";
import type { RunSource } from "../source.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

const side = (run: string, rows: number) => ({ run, models: ["m"], rows, failed: 0, tokens: 0, cost_usd: 0, seconds: 1 });
const a = aRun("a", { state: "done" });
const b = aRun("b", { state: "running", last_event: 3 });

let host: HTMLElement;
let root: Root;
let watched: Map<string, (event: LiveEvent) => void>;
let rows = 1;
const compare = vi.fn(async () => ({
  rows: [], matching: 0, next: null, complete: true,
  summary: { a: side("a", 9), b: side("b", rows), same: rows, changed: 0, only_a: 0, only_b: 0, failed: 0, open: 0, by_index: 0, agreement: 1 }
}));

const live = {
  watch: (id: string, watcher: (event: LiveEvent) => void) => {
    watched.set(id, watcher);
    return () => watched.delete(id);
  }
} as unknown as IPoLive;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("ResizeObserver", class { observe = vi.fn(); unobserve = vi.fn(); disconnect = vi.fn() });
  watched = new Map();
  rows = 1;
  compare.mockClear();
  host = document.body.appendChild(document.createElement("div"));
  root = createRoot(host);
});
afterEach(() => {
  act(() => root.unmount());
  host.remove();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const wait = (milliseconds: number): Promise<void> =>
  act(async () => {
    await vi.advanceTimersByTimeAsync(milliseconds);
  });

async function open(visible = true): Promise<void> {
  const other = { id: "b", brief: async () => b } as unknown as RunSource;
  const source = { id: "a", compare, beside: () => other, brief: async () => a } as unknown as RunSource;
  const page = {
    run: a, source, live, visible, state: { ...FRESH, tab: "compare", compare: { run: "b", all: false, open: null } },
    patch: vi.fn(), speech: null, now: 0, trans: nullTranslator.load("po_jupyter"), host: {}, answered: vi.fn()
  } as unknown as Page;
  await act(async () => {
    root.render(<PageProvider value={page}><CompareTab /></PageProvider>);
  });
  await wait(100);
}

it("shows what comes of the other run while only that one goes on", async () => {
  await open();
  expect(host.textContent).toContain("1 of 1 answers agree");
  rows = 5;
  await act(async () => watched.get("b")!({ type: "run", run: { ...b, last_event: 8 } }));
  await wait(100); // what an act does is drawn at its end
  await wait(2000);
  expect(host.textContent).toContain("5 of 5 answers agree");
});

it("asks once while nothing changes", async () => {
  await open();
  await wait(5000);
  expect(compare).toHaveBeenCalledOnce();
});

it("watches nobody while the page is hidden, and nobody any more when it is closed", async () => {
  await open(false);
  expect([...watched.keys()]).toEqual([]);
  await open();
  expect([...watched.keys()]).toEqual(["b"]);
  await act(async () => root.render(<></>));
  expect([...watched.keys()]).toEqual([]);
});

it("puts scores that both runs have beside each other, with McNemar's p", async () => {
  const { scoreLine } = await import("../compare/words.js");
  const trans = nullTranslator.load("x");
  const score = { name: "exact", rows: 50, a: { mean: 0.8, interval: [0.67, 0.888] }, b: { mean: 0.9, interval: null }, a_only: 1, b_only: 6, p: 0.125 };
  expect(scoreLine(score, trans)).toBe("exact: A 0.80 (0.67 to 0.89), B 0.90 · 1 right in A only, 6 in B only · McNemar's p 0.125");
  expect(scoreLine({ ...score, p: null, a_only: null, b_only: null }, trans)).toBe("exact: A 0.80 (0.67 to 0.89), B 0.90");
});
