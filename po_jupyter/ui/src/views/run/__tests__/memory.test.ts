import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { KEPT, Memory, VERSION } from "../memory.js";
import { FRESH, patched } from "../pageState.js";

/** Lab's state database, as far as it is used. */
function database(first?: unknown): { saved: unknown; fetch: () => Promise<unknown>; save: (key: string, value: unknown) => Promise<void> } {
  const db = {
    saved: first,
    fetch: async () => db.saved,
    save: async (_key: string, value: unknown) => {
      db.saved = JSON.parse(JSON.stringify(value));
    }
  };
  return db;
}
const memoryOf = (db: ReturnType<typeof database>): Memory => new Memory(db as unknown as ConstructorParameters<typeof Memory>[0]);

const ROWS = patched(FRESH, { tab: "rows", rows: { top: 500, sort: "tokens" } });

describe("what was set on a page", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("is there after a reload", async () => {
    const db = database();
    memoryOf(db).remember("r1", ROWS);
    await vi.runAllTimersAsync();
    expect(await memoryOf(db).recall("r1")).toEqual(ROWS);
    expect(await memoryOf(db).recall("r2")).toBeUndefined();
  });

  it("is written once for many changes", async () => {
    const db = database();
    const save = vi.spyOn(db, "save");
    const memory = memoryOf(db);
    for (let top = 0; top < 100; top += 1) {
      memory.remember("r1", patched(ROWS, { rows: { top } }));
    }
    await vi.runAllTimersAsync();
    expect(save).toHaveBeenCalledTimes(1);
  });

  it("is forgotten when it is the oldest of too many, or its run is deleted", async () => {
    const db = database();
    const memory = memoryOf(db);
    for (let run = 0; run <= KEPT; run += 1) {
      memory.remember(`r${run}`, ROWS);
    }
    memory.forget("r5");
    await vi.runAllTimersAsync();
    const read = memoryOf(db);
    expect(await read.recall("r0")).toBeUndefined();
    expect(await read.recall("r5")).toBeUndefined();
    expect(await read.recall(`r${KEPT}`)).toEqual(ROWS);
  });

  it("is not read when another version wrote it, or nobody", async () => {
    expect(await memoryOf(database({ version: VERSION + 1, pages: { r1: { at: 1, state: ROWS } } })).recall("r1")).toBeUndefined();
    expect(await memoryOf(database({ version: VERSION, pages: { r1: "x" } })).recall("r1")).toEqual(FRESH);
    expect(await new Memory(null).recall("r1")).toBeUndefined();
  });

  it("is kept when it was set while the old was being read", async () => {
    const memory = memoryOf(database({ version: VERSION, pages: { r1: { at: 1, state: FRESH }, r2: { at: 2, state: FRESH } } }));
    const recalled = memory.recall("r2");
    memory.remember("r1", ROWS);
    await recalled;
    expect(await memory.recall("r1")).toEqual(ROWS);
  });
});
