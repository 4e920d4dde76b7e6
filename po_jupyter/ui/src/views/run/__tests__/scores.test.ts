import { expect, it } from "vitest";
import { entriesOf, scoreText, scoresLine } from "../rows/scores.js";
import type { Row } from "../shapes.js";

const scores = { values: { exact: 1, f1: 0.8049, judge: null }, notes: { judge: "no answer" } };
const row = { index: 0, scores } as unknown as Row;

it("says scores on one line, one alone without its name", () => {
  expect(scoresLine(row, ["exact", "f1", "judge"])).toBe("exact 1.00 · f1 0.80 · judge –");
  expect(scoresLine(row, ["f1"])).toBe("0.80");
  expect(scoresLine({ index: 0 } as unknown as Row, ["f1"])).toBe("");
  expect(scoreText(0)).toBe("0.00");
});

it("has why a score is missing beside it", () => {
  expect(entriesOf(scores)).toEqual([
    ["exact", 1, ""],
    ["f1", 0.8049, ""],
    ["judge", null, "no answer"]
  ]);
});
