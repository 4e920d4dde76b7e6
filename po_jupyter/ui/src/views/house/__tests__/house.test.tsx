// @vitest-environment jsdom
import * as React from "react";
import { act } from "react";
import { createRoot } from "react-dom/client";
import type { Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { DeadLetter, Waits } from "../../../api/answers.js";
import { ApiError } from "../../../api/errors.js";
import { aRun } from "../../../state/__tests__/samples.js";
import { DeadLetters } from "../DeadLetters.js";
import { Waiting } from "../Waiting.js";

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

const press = (label: string): Promise<void> =>
  act(async () => [...host.querySelectorAll<HTMLElement>("button")].find(each => each.textContent === label)!.click());

const letter = (id: string): DeadLetter => ({
  id, name: `run ${id}`, pipeline: "tickets", version: "1.0.0", died_at: "2026-11-26T10:00:00Z", task: "label",
  stage: "inference", attempt: 2, error: { code: "worker_died", message: "The worker died." }, log: "Killed",
  crashes: 3, tasks: { total: 4, done: 1 }
});

describe("dead letters", () => {
  it("say what happened, page by page, and leave the list when they go on", async () => {
    const deadLetters = vi.fn(async ({ cursor }: { cursor?: string }) =>
      cursor ? { dead_letters: [letter("b")], next: null } : { dead_letters: [letter("a")], next: "c" }
    );
    const requeue = vi.fn(async (id: string) => {
      if (id === "b") {
        throw new ApiError({ code: "conflict", message: "It goes on already." });
      }
      return aRun(id);
    });
    const [open, requeued] = [vi.fn(), vi.fn()];
    const api = { deadLetters, requeue, discard: vi.fn() } as never;
    await act(async () => root.render(<DeadLetters api={api} open={open} requeued={requeued} />));
    const text = host.querySelector("article")!.textContent!;
    expect(text).toContain("tickets 1.0.0");
    expect(text).toContain("label · inference · attempt 2 · 1 of 4 tasks done · 3 crashes");
    expect(text).toContain("The worker died.");
    expect(host.querySelector("details pre")!.textContent).toBe("Killed");
    await press("Load older");
    expect(deadLetters).toHaveBeenLastCalledWith({ limit: 20, cursor: "c" });
    expect(host.querySelectorAll("article").length).toBe(2);
    await press("Open");
    expect(open).toHaveBeenCalledWith("a");
    await press("Requeue");
    expect(requeued).toHaveBeenCalledOnce();
    expect(host.querySelectorAll("article").length).toBe(1);
    await press("Requeue");
    expect(host.textContent).toContain("It goes on already.");
    expect(host.querySelectorAll("article").length).toBe(1);
  });

  it("are none", async () => {
    const api = { deadLetters: async () => ({ dead_letters: [], next: null }) } as never;
    await act(async () => root.render(<DeadLetters api={api} open={vi.fn()} requeued={vi.fn()} />));
    expect(host.textContent).toContain("No run is dead.");
  });
});

describe("who waits", () => {
  const nobody: Waits = { calls: [], store: [], queue: [], others: 0, rates: {} };
  const some: Waits = {
    calls: [
      { run: "a", name: "tickets", model: "openai:x", calls: 3, seconds: 4.2, waited: 9, reason: "openai (requests per minute)" },
      { run: "a", name: "tickets", model: "openai:y", calls: 1, seconds: null, waited: 61, reason: "openai (its turn)" }
    ],
    store: [{ run: "b", name: "letters", reason: "the disk is full" }],
    queue: [{ run: "c", name: "labels", position: 1 }, { run: "d", name: "more", position: 7 }],
    others: 2,
    rates: { openai: { requests: 500, input_tokens: 200000 } }
  };

  it("is told by name, with what for and how long", async () => {
    const open = vi.fn();
    await act(async () => root.render(<Waiting api={{ waits: async () => some }} open={open} />));
    expect([...host.querySelectorAll("li")].map(each => each.textContent)).toEqual([
      "lettersthe disk is full",
      "tickets3 calls to openai:x · openai (requests per minute) · next in 4.2 s",
      "tickets1 call to openai:y · openai (its turn) · for 01:01 so far",
      "labelsnext for a worker",
      "moreplace 7 for a worker"
    ]);
    expect(host.textContent).toContain("2 runs of other people wait too");
    expect([...host.querySelectorAll("tr")].map(each => each.textContent)).toEqual([
      "openai · requests500", "openai · input tokens200,000"
    ]);
    await press("letters");
    expect(open).toHaveBeenCalledWith("b");
  });

  it("is asked again only while somebody waits", async () => {
    vi.useFakeTimers();
    const waits = vi.fn(async () => some);
    await act(async () => root.render(<Waiting api={{ waits }} open={vi.fn()} />));
    waits.mockResolvedValue(nobody);
    await act(async () => vi.advanceTimersByTimeAsync(5_000));
    expect(waits).toHaveBeenCalledTimes(2);
    expect(host.textContent).toContain("Nobody.");
    await act(async () => vi.advanceTimersByTimeAsync(60_000));
    expect(waits).toHaveBeenCalledTimes(2);
    vi.useRealTimers();
  });
});
