// @vitest-environment jsdom
import * as React from "react";
import { act } from "react";
import { createRoot } from "react-dom/client";
import type { Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Api } from "../../../api/client.js";
import UsageView from "../UsageView.js";

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

const sum = (calls: number, cost: number) => ({
  input_tokens: 10, output_tokens: 2, calls, cost, unknown: 0, unpriced: 0, cached_calls: 0
});
const usage = {
  days: [{ day: "2026-11-27", ...sum(5, 0.4), by_model: { "openai:x": sum(5, 0.4) } }],
  total: sum(5, 0.4),
  by_pipeline: { letters: sum(1, 0.1), tickets: sum(3, 0.3) },
  today: { usd: { used: 0.4, limit: 2 as number | null }, tokens: { used: 12, limit: null } },
  disk: {}
};
const show = (found: unknown): Promise<void> =>
  act(async () => root.render(<UsageView api={{ usage: async () => found } as unknown as Api} />));

describe("what calls used", () => {
  it("stands beside the limit of the day", async () => {
    await show(usage);
    const today = host.querySelector("section[aria-label=Today]")!;
    expect(today.textContent).toContain("$0.400 of $2.00 today");
    expect(today.querySelector("[role=progressbar]")!.getAttribute("aria-valuenow")).toBe("20");
    expect(today.querySelectorAll("[role=progressbar]").length).toBe(1);
  });

  it("has used up a limit of nothing", async () => {
    for (const used of [0, 0.4]) {
      await show({ ...usage, today: { usd: { used, limit: 0 }, tokens: { used: 0, limit: 0 } } });
      const bars = [...host.querySelectorAll("section[aria-label=Today] [role=progressbar]")];
      expect(bars.map(bar => bar.getAttribute("aria-valuenow"))).toEqual(["100", "100"]);
      expect(host.textContent).not.toContain("NaN");
    }
  });

  it("is a plain sum where there is no limit", async () => {
    await show({ ...usage, today: { usd: { used: 0.4, limit: null }, tokens: { used: 12, limit: 1000 } } });
    const today = host.querySelector("section[aria-label=Today]")!;
    expect(today.textContent).toContain("$0.400 today");
    expect(today.textContent).toContain("12 tokens of 1.0k tokens today");
  });

  it("is the word of a hub's gateway, which may be away", async () => {
    await show({ ...usage, hub: { user: "ada", problem: "" } });
    expect(host.textContent).toContain("On the hub as ada");
    await show(usage);
    act(() => root.unmount());
    root = createRoot(host);
    await show({ ...usage, hub: { user: "ada", problem: "the hub's gateway cannot be reached" } });
    expect(host.querySelector("[role=status]")!.textContent).toBe("the hub's gateway cannot be reached");
  });

  it("is told by pipeline, the dearest first, and what deleted runs used is not lost", async () => {
    await show(usage);
    const [table] = [...host.querySelectorAll("table")];
    expect([...table!.querySelectorAll("tbody tr")].map(row => row.textContent)).toEqual(["tickets312$0.300", "letters112$0.100"]);
    expect(host.textContent).toContain("1 call of deleted runs is in the sum alone");
  });

  it("is told by a server that knows no more than days", async () => {
    const { by_pipeline: _, today: __, ...older } = usage;
    await show(older);
    expect(host.querySelector("section[aria-label=Today]")).toBeNull();
    expect(host.textContent).not.toContain("By pipeline");
  });
});
