import { expect, it } from "vitest";
import { needsMoreBudget } from "../run.js";

it("the budget of a hub that is spent asks for no larger one of the run", () => {
  const ended = (details?: object): Parameters<typeof needsMoreBudget>[0] =>
    ({ error: { code: "budget_exceeded", message: "spent", details } }) as Parameters<typeof needsMoreBudget>[0];
  expect(needsMoreBudget(ended())).toBe(true);
  expect(needsMoreBudget(ended({ scope: "run" }))).toBe(true);
  expect(needsMoreBudget(ended({ scope: "hub" }))).toBe(false);
  expect(needsMoreBudget({ error: null })).toBe(false);
});
