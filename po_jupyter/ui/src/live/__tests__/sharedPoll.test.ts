import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Run } from "../../api/types.js";
import { aRun } from "../../state/__tests__/samples.js";
import { SharedPoll } from "../sharedPoll.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("the shared runs of a hub", () => {
  const told = vi.fn();
  const gone = vi.fn();
  let answer: Run[] | null = [];
  const ask = vi.fn(async () => answer);
  const begin = vi.fn();
  const poll = (): SharedPoll => new SharedPoll(ask, told, gone, begin);

  beforeEach(() => void vi.clearAllMocks());

  it("are told when they are new or changed, often while some go on", async () => {
    const look = poll();
    answer = [aRun("b", { state: "running", may: ["runs:read"] }), aRun("a", { state: "done" })];
    look.start();
    await vi.advanceTimersByTimeAsync(1);
    expect(begin).toHaveBeenCalledTimes(1);
    expect([...look.known.keys()]).toEqual(["b", "a"]);
    expect(told).not.toHaveBeenCalled(); // what was there already is no news
    answer = [{ ...answer[0]!, last_event: 99 }, answer[1]!];
    await vi.advanceTimersByTimeAsync(3_100);
    expect(told.mock.calls.map(([run]) => run.id)).toEqual(["b"]);
    answer = [{ ...answer[0]!, state: "done", last_event: 100 }, answer[1]!];
    await vi.advanceTimersByTimeAsync(3_100);
    const looks = ask.mock.calls.length;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(ask.mock.calls.length).toBe(looks);
    look.stop();
  });

  it("that are deleted are told to be gone, those beyond the list are not", async () => {
    const look = poll();
    const [young, old] = [aRun("b", { created_at: "2026-11-02T00:00:00Z" }), aRun("a", { created_at: "2026-11-01T00:00:00Z" })];
    answer = [young, old];
    look.start();
    await vi.advanceTimersByTimeAsync(1);
    answer = [young];
    await vi.advanceTimersByTimeAsync(15_100);
    expect(gone).not.toHaveBeenCalled();
    answer = [old];
    await vi.advanceTimersByTimeAsync(15_100);
    expect(gone.mock.calls).toEqual([["b"]]);
    look.stop();
  });

  it("are asked for once where there is no such service, and again where it does not answer", async () => {
    const look = poll();
    ask.mockRejectedValueOnce(new Error("away"));
    answer = null;
    look.start();
    await vi.advanceTimersByTimeAsync(31_000);
    await vi.advanceTimersByTimeAsync(300_000);
    expect(ask).toHaveBeenCalledTimes(2);
    expect(told).not.toHaveBeenCalled();
  });
});
