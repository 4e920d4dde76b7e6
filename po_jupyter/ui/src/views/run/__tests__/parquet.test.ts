import { describe, expect, it } from "vitest";
import { csvHeader, csvLine } from "../rows/csv.js";
import { columnsOf, parquetOf } from "../rows/parquet.js";
import type { Row } from "../shapes.js";

const row = (index: number, output: unknown, more: Partial<Row> = {}): Row => ({
  index, state: "done", input: { text: "t" }, output, error: null, attempts: 1, tokens: 5, cost_usd: 0.5, seconds: 1, model: "m", ...more
});

describe("rows as Parquet", () => {
  it("have a column of one type for each field", () => {
    const rows = [row(0, { label: "bug", score: 1, sure: true }), row(1, { label: 7, score: 0.5, tags: ["a"] }), row(2, null, { cost_usd: null })];
    const columns = Object.fromEntries(columnsOf(rows).map(({ name, type, data }) => [name, { type, data }]));
    expect(columns.index).toEqual({ type: "INT64", data: [0n, 1n, 2n] });
    expect(columns["output.label"]).toEqual({ type: "STRING", data: ["bug", "7", null] });
    expect(columns["output.score"]).toEqual({ type: "DOUBLE", data: [1, 0.5, null] });
    expect(columns["output.sure"]).toEqual({ type: "BOOLEAN", data: [true, null, null] });
    expect(columns["output.tags"]).toEqual({ type: "STRING", data: [null, '["a"]', null] });
    expect(columns.input!.data[0]).toBe('{"text":"t"}');
  });

  it("have their numbers as numbers also where no row has one", () => {
    const without = { cost_usd: null, attempts: 0 };
    for (const rows of [[], [row(0, "x", without)], [row(0, "x", { cost_usd: 0, seconds: 2 })]]) {
      const types = Object.fromEntries(columnsOf(rows).map(({ name, type }) => [name, type]));
      expect(types).toMatchObject({ index: "INT64", attempts: "INT64", tokens: "INT64", cost_usd: "DOUBLE", seconds: "DOUBLE" });
    }
  });

  it("keep an answer without a field, and know no field but those of the answer", () => {
    const rows = [row(0, {}), row(1, JSON.parse('{"constructor": 1, "__proto__": 2}')), row(2, { a: 1 })];
    const columns = Object.fromEntries(columnsOf(rows).map(({ name, data }) => [name, data]));
    expect(columns.output).toEqual(["{}", null, null]);
    expect(columns["output.constructor"]).toEqual([null, 1n, null]);
    expect(columns["output.__proto__"]).toEqual([null, 2n, null]);
    const header = csvHeader(rows);
    expect(rows.map(each => csvLine(each, header).split(",").slice(3, 7).join())).toEqual(["{},,,", ",1,2,", ",,,1"]);
  });

  it("have one column for answers whose fields are all different", () => {
    const rows = Array.from({ length: 600 }, (_, n) => row(n, { [`field ${n}`]: n }));
    expect(columnsOf(rows)).toHaveLength(10);
    expect(columnsOf(rows).find(({ name }) => name === "output")!.data[7]).toBe('{"field 7":7}');
    expect(csvLine(rows[7]!, csvHeader(rows))).toContain('"{""field 7"":7}"');
  });

  it("are a file that begins and ends as such a file does", async () => {
    const text = await parquetOf([row(0, "x")]).text();
    expect([text.slice(0, 4), text.slice(-4)]).toEqual(["PAR1", "PAR1"]);
    expect((await parquetOf([]).text()).slice(-4)).toBe("PAR1");
  });
});
