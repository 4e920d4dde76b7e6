import { Text } from "@codemirror/state";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Checks, DELAY } from "../checks.js";
import type { Underline } from "../positions.js";

const text = (body: string) => Text.of(`%%po_pipeline tickets --model fake:echo\n${body}`.split("\n"));

describe("checks while typing", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("asks once, some time after the last key", async () => {
    const validate = vi.fn(async () => [{ where: "", message: "wrong", line: 1, column: 1 }]);
    const shown: Underline[][] = [];
    const checks = new Checks(validate, mistakes => shown.push(mistakes));
    checks.changed(text("t"));
    await vi.advanceTimersByTimeAsync(DELAY - 10);
    checks.changed(text("tasks: []"));
    await vi.advanceTimersByTimeAsync(DELAY - 10);
    expect(validate).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(10);
    expect(validate).toHaveBeenCalledOnce();
    expect(validate.mock.calls[0]).toMatchObject([
      { pipeline: "tasks: []\n", name: "tickets", model: "fake:echo" }, { aborted: false }
    ]);
    expect(shown).toEqual([[{ from: 40, to: 45, message: "wrong" }]]);
  });

  it("gives up a check when typing goes on, and never shows its answer", async () => {
    const signals: AbortSignal[] = [];
    let answer: (violations: []) => void = () => undefined;
    const show = vi.fn();
    const checks = new Checks((_, signal) => {
      signals.push(signal);
      return new Promise(resolve => (answer = resolve));
    }, show);
    checks.changed(text("a"));
    await vi.advanceTimersByTimeAsync(DELAY);
    checks.changed(text("ab"));
    expect(signals.map(signal => signal.aborted)).toEqual([true]);
    answer([]);
    await vi.advanceTimersByTimeAsync(0);
    expect(show).not.toHaveBeenCalled();
    checks.stop();
    await vi.advanceTimersByTimeAsync(DELAY * 2);
    expect(signals).toHaveLength(1);
  });

  it("asks nothing for an empty body, a huge one, or another cell", async () => {
    const validate = vi.fn(async () => []);
    const checks = new Checks(validate, () => undefined);
    for (const other of [text("  \n"), text("a".repeat(200_000)), Text.of(["import x"])]) {
      checks.changed(other);
      await vi.advanceTimersByTimeAsync(DELAY);
    }
    expect(validate).not.toHaveBeenCalled();
  });

  it("calls nothing a mistake when the server does not answer", async () => {
    const show = vi.fn();
    const checks = new Checks(async () => Promise.reject(new Error("gone")), show);
    checks.changed(text("tasks: []"));
    await vi.advanceTimersByTimeAsync(DELAY);
    expect(show).toHaveBeenCalledExactlyOnceWith([]);
  });
});
