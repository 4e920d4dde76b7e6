import { describe, expect, it, vi } from "vitest";
import { Pages } from "../rows/pages.js";
import type { Page } from "../rows/pages.js";

interface Request {
  start: number;
  signal: AbortSignal;
  answer: (items?: string[], matching?: number) => Promise<void>;
  fail: () => Promise<void>;
}

/** Pages of a list of 100,000, and the requests that wait for their answer. */
function listOf(kept = 4, pause = 0): { pages: Pages<string>; requests: Request[]; changed: ReturnType<typeof vi.fn> } {
  const requests: Request[] = [];
  const changed = vi.fn();
  const pages = new Pages<string>({
    size: 10,
    pause,
    kept,
    changed,
    load: (start, limit, signal) =>
      new Promise<Page<string>>((resolve, reject) => {
        const settled = (): Promise<void> => new Promise(done => setTimeout(done));
        requests.push({
          start,
          signal,
          answer: (items, matching = 100_000) => {
            resolve({ items: items ?? Array.from({ length: limit }, (_, n) => `row ${start + n}`), matching, total: 100_000 });
            return settled();
          },
          fail: () => {
            reject(new Error("no"));
            return settled();
          }
        });
      })
  });
  return { pages, requests, changed };
}

describe("pages of a long list", () => {
  it("asks for what is in sight, two at a time, and once", async () => {
    const { pages, requests } = listOf();
    pages.want(5, 34);
    pages.want(5, 34);
    expect(requests.map(request => request.start)).toEqual([0, 10]);
    await requests[0]!.answer();
    expect(requests.map(request => request.start)).toEqual([0, 10, 20]);
    expect(pages.at(7)).toBe("row 7");
    expect(pages.at(12)).toBeUndefined();
    expect(pages.matching).toBe(100_000);
  });

  it("gives up what went by, and does not take its answer", async () => {
    const { pages, requests } = listOf();
    pages.want(0, 9);
    pages.want(5000, 5009);
    expect(requests[0]!.signal.aborted).toBe(true);
    expect(requests[1]!.start).toBe(5000);
    await requests[0]!.answer();
    expect(pages.at(0)).toBeUndefined();
    await requests[1]!.answer();
    expect(pages.at(5003)).toBe("row 5003");
  });

  it("asks for nothing that flies by", () => {
    vi.useFakeTimers();
    const { pages, requests } = listOf(4, 60);
    pages.want(0, 9);
    for (let row = 1000; row <= 90_000; row += 1000) {
      pages.want(row, row + 9);
      vi.advanceTimersByTime(16);
    }
    expect(requests).toHaveLength(1);
    vi.advanceTimersByTime(60);
    expect(requests.map(request => request.start)).toEqual([0, 90_000]);
    vi.useRealTimers();
  });

  it("keeps as many pages as it may, and those in sight", async () => {
    const { pages, requests } = listOf(4);
    for (let page = 0; page < 20; page += 1) {
      pages.want(page * 10, page * 10 + 9);
      await requests[page]!.answer();
    }
    expect(pages.at(0)).toBeUndefined();
    expect(pages.at(165)).toBe("row 165");
    expect(pages.at(195)).toBe("row 195");
  });

  it("shows what it has until the newer page is here", async () => {
    const { pages, requests } = listOf();
    pages.want(0, 9);
    await requests[0]!.answer();
    pages.refresh();
    expect(requests).toHaveLength(2);
    expect(pages.at(1)).toBe("row 1");
    await requests[1]!.answer(["new"], 1);
    expect(pages.at(0)).toBe("new");
    expect(pages.matching).toBe(1);
  });

  it("stops at a problem, until it is asked again", async () => {
    const { pages, requests, changed } = listOf();
    pages.want(0, 9);
    await requests[0]!.fail();
    expect(pages.problem).toBeInstanceOf(Error);
    expect(changed).toHaveBeenCalled();
    pages.want(0, 9);
    expect(requests).toHaveLength(1);
    pages.refresh();
    expect(requests).toHaveLength(2);
  });

  it("asks for nothing behind the end, and tells nobody after its own", async () => {
    const { pages, requests, changed } = listOf();
    pages.want(0, 9);
    await requests[0]!.answer(["only"], 1);
    pages.want(0, 40);
    expect(requests).toHaveLength(1);
    pages.refresh();
    changed.mockClear();
    pages.dispose();
    await requests[1]!.answer();
    expect(changed).not.toHaveBeenCalled();
  });
});
