import { expect, it } from "vitest";
import { numbersOf } from "../rows/rowNumbers.js";
import type { Row } from "../shapes.js";

const row = (state: string, more: Partial<Row> = {}): Row =>
  ({ index: 0, state, input: "t", output: null, error: null, attempts: 0, tokens: 0, cost_usd: 0, seconds: 0, model: null, ...more }) as Row;

it("a row that was not asked yet has no numbers", () => {
  const nothing = { attempts: "", tokens: "", cost: "", seconds: "" };
  expect(numbersOf(row("pending"))).toEqual(nothing);
  expect(numbersOf(row("running"))).toEqual(nothing);
  expect(numbersOf(row("running", { attempts: 1 }))).toEqual({ ...nothing, attempts: "1" });
});

it("a row with an outcome has them, also where they are nothing", () => {
  expect(numbersOf(row("done", { attempts: 1, tokens: 1200, cost_usd: 0.25, seconds: 2 }))).toEqual({
    attempts: "1", tokens: "1,200", cost: "$0.250", seconds: "2.0 s"
  });
  expect(numbersOf(row("done"))).toMatchObject({ attempts: "0", tokens: "0" });
  expect(numbersOf(row("failed", { attempts: 2, cost_usd: null }))).toMatchObject({ attempts: "2", cost: "" });
});

it("a row that is asked again shows what it took so far", () => {
  expect(numbersOf(row("pending", { attempts: 2, tokens: 30 }))).toMatchObject({ attempts: "2", tokens: "30", cost: "" });
});
