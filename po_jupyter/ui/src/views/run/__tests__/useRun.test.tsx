// @vitest-environment jsdom
import * as React from "react";
import { act } from "react";
import { createRoot } from "react-dom/client";
import type { Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Link, LiveEvent } from "../../../api/events.js";
import { aRun } from "../../../state/__tests__/samples.js";
import type { IPoLive } from "../../../tokens.js";
import type { RunSource } from "../source.js";
import { useRun } from "../useRun.js";
import type { LiveRun } from "../useRun.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

const WHOLE = "018f00000000aaaaaaaaaa";
const LOST: Link = { state: "lost", problem: { code: "x", message: "gone", hint: "" }, retryAt: 0 };

let host: HTMLElement;
let root: Root;
let shown: LiveRun;
let watched: Map<string, (event: LiveEvent) => void>;
const brief = vi.fn(async () => aRun(WHOLE));

const live = {
  watch: (id: string, watcher: (event: LiveEvent) => void) => {
    watched.set(id, watcher);
    return () => watched.delete(id);
  }
} as unknown as IPoLive;

function Page({ source }: { source: RunSource }): JSX.Element {
  shown = useRun(source, live, true);
  return <>{shown.run?.id ?? shown.problem?.message ?? ""}</>;
}

beforeEach(() => {
  vi.useFakeTimers();
  watched = new Map();
  host = document.body.appendChild(document.createElement("div"));
  root = createRoot(host);
});
afterEach(() => {
  act(() => root.unmount());
  host.remove();
  vi.useRealTimers();
  vi.resetAllMocks();
  brief.mockImplementation(async () => aRun(WHOLE));
});

async function open(id: string): Promise<void> {
  const source = { id, brief } as unknown as RunSource;
  await act(async () => {
    root.render(<Page source={source} />);
    await vi.advanceTimersByTimeAsync(100);
  });
}

const links = (...states: Link[]): Promise<void> =>
  act(async () => {
    for (const link of states) {
      [...watched.values()].forEach(watcher => watcher({ type: "link", link }));
      await vi.advanceTimersByTimeAsync(100);
    }
  });

describe("the run of a page", () => {
  it("is read again when the connection is back", async () => {
    await open(WHOLE);
    await links({ state: "connecting" }, { state: "live" });
    expect(brief).toHaveBeenCalledTimes(1);
    await links(LOST, { state: "connecting" }, { state: "live" });
    expect(brief).toHaveBeenCalledTimes(2);
  });

  it("is read again when the browser's tab was hidden, or there was no connection in the beginning", async () => {
    await open(WHOLE);
    await links(LOST, { state: "connecting" }, { state: "live" });
    expect(brief).toHaveBeenCalledTimes(2);
    await links({ state: "idle" }, { state: "connecting" }, { state: "live" });
    expect(brief).toHaveBeenCalledTimes(3);
  });

  it("is watched by its whole id as soon as that is known", async () => {
    brief.mockRejectedValueOnce(new Error("no server"));
    await open("aaaa");
    expect([...watched.keys()]).toEqual(["aaaa"]);
    await act(async () => {
      shown.again();
      await vi.advanceTimersByTimeAsync(100);
    });
    expect([...watched.keys()]).toEqual([WHOLE]);
    expect(host.textContent).toBe(WHOLE);
  });
});
