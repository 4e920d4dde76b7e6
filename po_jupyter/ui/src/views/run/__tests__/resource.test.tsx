// @vitest-environment jsdom
import * as React from "react";
import { act } from "react";
import { createRoot } from "react-dom/client";
import type { Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { useResource } from "../resource.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

interface Request {
  signal: AbortSignal;
  answer: (value: string) => void;
}

let host: HTMLElement;
let root: Root;
let requests: Request[];
const load = (signal: AbortSignal): Promise<string> => new Promise(answer => requests.push({ signal, answer }));

beforeEach(() => {
  vi.useFakeTimers();
  requests = [];
  host = document.body.appendChild(document.createElement("div"));
  root = createRoot(host);
});
afterEach(() => {
  act(() => root.unmount());
  host.remove();
  vi.useRealTimers();
});

function View({ id, version }: { id: string; version: number }): JSX.Element {
  return <>{useResource(load, id, version).value ?? "nothing"}</>;
}
const draw = (version: number, id = "a"): void => act(() => root.render(<View id={id} version={version} />));
const pass = (milliseconds: number): Promise<void> =>
  act(async () => {
    await vi.advanceTimersByTimeAsync(milliseconds);
  });

describe("what a tab shows of a run that goes on", () => {
  it("comes on a slow link, however busy the run is", async () => {
    draw(0);
    for (let version = 1; version <= 20; version += 1) {
      await pass(500);
      draw(version);
    }
    expect(requests).toHaveLength(1);
    expect(requests[0]!.signal.aborted).toBe(false);
    requests[0]!.answer("first");
    await pass(0);
    expect(host.textContent).toBe("first");
    expect(requests).toHaveLength(2); // what changed meanwhile
    requests[1]!.answer("second");
    await pass(5000);
    expect(host.textContent).toBe("second");
    expect(requests).toHaveLength(2);
  });

  it("is asked for at most every 1.5 s", async () => {
    draw(0);
    await pass(0);
    requests[0]!.answer("first");
    await pass(0);
    draw(1);
    draw(2);
    await pass(1400);
    expect(requests).toHaveLength(1);
    await pass(100);
    expect(requests).toHaveLength(2);
  });

  it("is given up for something else, and at the end", async () => {
    draw(0);
    await pass(0);
    draw(0, "b");
    await pass(0);
    expect(requests.map(request => request.signal.aborted)).toEqual([true, false]);
    requests[0]!.answer("late");
    await pass(0);
    expect(host.textContent).toBe("nothing");
    draw(0, "c");
    expect(requests[1]!.signal.aborted).toBe(true);
  });
});
