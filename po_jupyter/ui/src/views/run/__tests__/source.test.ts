import { describe, expect, it, vi } from "vitest";
import type { Api } from "../../../api/client.js";
import { exportRows } from "../rows/exportRows.js";
import type { RowQuery } from "../shapes.js";
import { RunSource } from "../source.js";

const query: RowQuery = { task: "t", state: "", variant: "", q: "x", sort: "index", desc: false };
const page = (matching: number, complete: boolean) => ({ rows: [], total: 9, matching, next: null, complete });

describe("a question that takes the server long", () => {
  it("is asked again until all rows were looked at", async () => {
    const get = vi.fn().mockResolvedValueOnce(page(1, false)).mockResolvedValueOnce(page(2, false)).mockResolvedValue(page(3, true));
    const source = new RunSource({ get } as unknown as Api, "r");
    expect((await source.rows(query, 0, 10)).matching).toBe(3);
    expect(get).toHaveBeenCalledTimes(3);
  });

  it("comes to an end, and is no whole export", async () => {
    const get = vi.fn().mockResolvedValue(page(1, false));
    const source = new RunSource({ get } as unknown as Api, "r");
    expect((await source.compare("b", "t", false, 0, 10)).complete).toBe(false);
    expect(get.mock.calls.length).toBeLessThan(100);
    await expect(exportRows(source, query, () => undefined)).rejects.toThrow("does not come to the end");
  });

  it("is not asked again when nobody waits for it", async () => {
    const controller = new AbortController();
    const get = vi.fn().mockImplementation(async () => (controller.abort(), page(1, false)));
    const source = new RunSource({ get } as unknown as Api, "r");
    await expect(source.rows(query, 0, 10, controller.signal)).rejects.toThrow();
    expect(get).toHaveBeenCalledTimes(1);
  });
});
