// @vitest-environment jsdom
import * as React from "react";
import { act } from "react";
import { createRoot } from "react-dom/client";
import type { Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Run } from "../../../api/types.js";
import { aRun, aTask } from "../../../state/__tests__/samples.js";
import type { Verbs } from "../actions.js";
import { RunCard } from "../RunCard.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

let host: HTMLElement;
let root: Root;
const verbs = {
  toggle: vi.fn(),
  open: vi.fn(),
  dismiss: vi.fn(),
  cancel: vi.fn(),
  resume: vi.fn(),
  retryFailed: vi.fn(),
  restart: vi.fn(),
  fork: vi.fn(),
  requeue: vi.fn(),
  discard: vi.fn(),
  move: vi.fn(),
  mayMove: vi.fn(() => false),
  decide: vi.fn(),
  draft: vi.fn(async () => null),
  artifactUrl: (_: Run, path: string) => `/files/${path}`
} satisfies Verbs;

beforeEach(() => {
  host = document.body.appendChild(document.createElement("div"));
  root = createRoot(host);
});
afterEach(() => {
  act(() => root.unmount());
  host.remove();
  vi.clearAllMocks();
  verbs.mayMove.mockReturnValue(false);
});

const NOW = Date.parse("2026-11-22T12:00:41Z") / 1000;

async function draw(run: Run, more: { open?: boolean; now?: number; canDismiss?: boolean } = {}): Promise<void> {
  await act(async () =>
    root.render(
      <RunCard
        run={run}
        open={more.open ?? false}
        busy={undefined}
        problem={undefined}
        speech={undefined}
        now={more.now ?? NOW}
        verbs={verbs}
        canDismiss={more.canDismiss}
      />
    )
  );
}
const buttons = (): (string | null)[] => [...host.querySelectorAll(".po-Buttons button")].map(each => each.textContent);
const press = (label: string): void => {
  const found = [...host.querySelectorAll<HTMLElement>("button")].find(each => each.textContent === label);
  act(() => found!.click());
};

describe("a run's card", () => {
  it.each([
    ["running", ["runs:read"], ["Open"]],
    ["running", ["runs:read", "runs:write"], ["Cancel", "Open"]],
    ["failed", ["runs:read", "gates"], ["Open"]],
    ["done", ["runs:read"], ["Open"]],
    ["dead", ["runs:read"], ["Open"]]
  ] as const)("of a shared run, %s with %j, offers what one may do: %j", async (state, may, labels) => {
    await draw(aRun("a", { state, may: [...may], owner: "group:red" }), { open: true });
    expect(buttons()).toEqual(labels);
    expect(host.querySelector(".po-Run-place")!.textContent).toBe("shared · red");
  });

  it.each([
    ["running", false, ["Cancel", "Open"]],
    ["running", true, ["Move to shared…", "Cancel", "Open"]],
    ["done", true, ["Fork…", "Restart…", "Move to shared…", "Open"]]
  ] as const)("of one's own where the hub has shared runs, %s (open: %s), has the buttons %j", async (state, open, labels) => {
    verbs.mayMove.mockReturnValue(true);
    await draw(aRun("a", { state }), { open });
    expect(buttons()).toEqual(labels);
    if (open) {
      press("Move to shared…");
      expect(verbs.move).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ id: "a" }));
    }
  });

  it("of a shared run at a gate has its buttons for approvers alone", async () => {
    const gate = { state: "waiting" as const, gate: { task: "t", message: "ok?" } };
    await draw(aRun("a", { ...gate, may: ["runs:read", "runs:write"] }));
    expect(buttons()).not.toContain("Approve");
    await draw(aRun("b", { ...gate, may: ["runs:read", "gates"] }));
    expect(buttons()).toContain("Approve");
    expect(buttons()).not.toContain("Cancel");
  });

  it.each([
    ["running", false, ["Cancel", "Open"]],
    ["pending", false, ["Cancel", "Open"]],
    ["done", false, ["Open"]],
    ["done", true, ["Fork…", "Restart…", "Open"]],
    ["failed", false, ["Resume", "Open"]],
    ["cancelled", false, ["Open"]],
    ["cancelled", true, ["Fork…", "Restart…", "Resume", "Open"]],
    ["dead", true, ["Discard…", "Fork…", "Restart…", "Requeue", "Open"]]
  ] as const)("%s (open: %s) has the buttons %j", async (state, open, labels) => {
    await draw(aRun("a", { state }), { open });
    expect(buttons()).toEqual(labels);
  });

  it("does not take the second click of a double one on Cancel for one on Resume", async () => {
    vi.useFakeTimers();
    try {
      await draw(aRun("a", { state: "pending" }), { open: true });
      await draw(aRun("a", { state: "running" }), { open: true });
      press("Cancel");
      expect(verbs.cancel, "the same button as before").toHaveBeenCalledOnce();
      await draw(aRun("a", { state: "cancelled", last_event: 2 }), { open: true });
      press("Resume");
      press("Open");
      expect(verbs.resume).not.toHaveBeenCalled();
      expect(verbs.open).toHaveBeenCalledOnce();
      await act(async () => vi.advanceTimersByTime(600));
      press("Resume");
      expect(verbs.resume).toHaveBeenCalledOnce();
    } finally {
      vi.useRealTimers();
    }
  });

  it("can be put aside only where it stands on top", async () => {
    await draw(aRun("a", { state: "failed" }), { canDismiss: true });
    press("Put aside");
    expect(verbs.dismiss).toHaveBeenCalledOnce();
  });

  it("keeps its text nodes while a run goes on: what is selected stays selected", async () => {
    const run = aRun("a", { tasks: [aTask("t", { state: "running", stage: "inference", started_at: "2026-11-22T12:00:01Z" })] });
    await draw(run, { open: true });
    const texts = (): Node[] => {
      const walker = document.createTreeWalker(host, NodeFilter.SHOW_TEXT);
      const found: Node[] = [];
      while (walker.nextNode()) {
        found.push(walker.currentNode);
      }
      return found;
    };
    const before = texts();
    await draw({ ...run, last_event: 2 }, { open: true, now: NOW + 5 });
    expect(texts()).toEqual(before);
    expect(texts().every((node, index) => node === before[index])).toBe(true);
    expect(host.textContent).toContain("00:46");
  });

  it("stops the clock of a task that was cut off with its run (R1.2)", async () => {
    const task = aTask("t", { state: "running", started_at: "2026-11-22T12:00:01Z" });
    await draw(aRun("a", { state: "dead", tasks: [task] }), { open: true, now: NOW + 3600 });
    expect(host.querySelector(".po-Task-detail")!.textContent).toBe("00:40");
  });

  it("shows a gate with its draft, its files and a note, and decides with the note", async () => {
    verbs.draft.mockResolvedValueOnce({ output: "Dear <b>Ann</b>" } as never);
    const gate = { task: "mail", message: "Send it?", artifacts: ["draft.md"] };
    await draw(aRun("a", { state: "waiting", gate, tasks: [aTask("mail", { state: "done" })] }));
    expect(host.querySelector(".po-Gate-message")!.textContent).toBe("mail waits for you: Send it?");
    expect(host.querySelector(".po-Draft")!.textContent).toBe("Dear <b>Ann</b>");
    expect(host.querySelector("a")!.getAttribute("download")).toBe("draft.md");
    const note = host.querySelector("textarea")!;
    act(() => {
      Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value")!.set!.call(note, " fine ");
      note.dispatchEvent(new Event("input", { bubbles: true }));
    });
    press("Approve");
    expect(verbs.decide).toHaveBeenCalledWith(expect.anything(), "approve", "fine");
    await draw(aRun("a", { state: "waiting", gate, last_event: 5 }));
    expect(verbs.draft).toHaveBeenCalledOnce();
  });

  it("approves nothing that is not shown yet, and takes nothing of one gate to the next", async () => {
    let came: (draft: never) => void = () => undefined;
    const late = (): Promise<never> => new Promise(resolve => (came = resolve));
    const approve = (): HTMLButtonElement =>
      [...host.querySelectorAll<HTMLButtonElement>(".po-Gate button")].find(each => each.textContent === "Approve")!;
    verbs.draft.mockRejectedValueOnce({ failure: { code: "x", message: "no draft" } } as never);
    await draw(aRun("a", { state: "waiting", gate: { task: "one" } }));
    expect(approve().disabled, "a failure is shown: who approves knows").toBe(false);
    const note = host.querySelector("textarea")!;
    act(() => {
      Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value")!.set!.call(note, "fine");
      note.dispatchEvent(new Event("input", { bubbles: true }));
    });
    verbs.draft.mockImplementationOnce(late as never);
    await draw(aRun("a", { state: "waiting", gate: { task: "two" }, last_event: 5 }));
    expect(host.querySelector("textarea")!.value).toBe("");
    expect(host.querySelector(".po-Gate [data-code], .po-Gate .po-Problem")).toBeNull();
    expect(approve().getAttribute("aria-disabled")).toBe("true");
    await act(async () => came({ output: "second" } as never));
    expect(approve().getAttribute("aria-disabled")).not.toBe("true");
    expect(host.querySelector(".po-Draft")!.textContent).toBe("second");
  });

  it("shows the first rows of a map at its gate", async () => {
    const rows = [{ index: 0, ok: true, output: { label: "bug" }, error: null }, { index: 1, ok: false, output: null, error: { code: "x", message: "no label" } }];
    verbs.draft.mockResolvedValueOnce({ rows, more: true } as never);
    await draw(aRun("a", { state: "waiting", gate: { task: "label" } }));
    expect([...host.querySelectorAll("tr")].map(row => row.textContent)).toEqual(['0{\n "label": "bug"\n}', "1no label"]);
    expect(host.textContent).toContain("and more rows");
  });
});
