import { describe, expect, it } from "vitest";
import { HEIGHT, offsetFor, windowOf } from "../window.js";

describe("the rows that are drawn", () => {
  it("are those in sight with some around them, and always as many", () => {
    const height = 20 * HEIGHT + 5;
    for (const above of [0, 1, 7, 8, 50, 977, 985, 999, 1200]) {
      const { first, length } = windowOf(above, height, 1000);
      expect(length).toBe(41);
      expect(first).toBeGreaterThanOrEqual(0);
      expect(first + length).toBeLessThanOrEqual(1000);
      if (above < 979) {
        expect(first).toBeLessThanOrEqual(above);
        expect(first + length).toBeGreaterThan(above + 21);
      }
    }
  });

  it("are all where there are few, and none where there are none", () => {
    expect(windowOf(0, 500, 3)).toEqual({ first: 0, length: 3 });
    expect(windowOf(40, 500, 0)).toEqual({ first: 0, length: 0 });
    expect(windowOf(0, 0, 100).length).toBeGreaterThan(0);
  });
});

it("a row is scrolled to no further than it has to be", () => {
  const height = 11 * HEIGHT; // the head and ten rows
  expect(offsetFor(5, 0, height)).toBe(0);
  expect(offsetFor(9, 0, height)).toBe(0);
  expect(offsetFor(10, 0, height)).toBe(HEIGHT);
  expect(offsetFor(3, 5 * HEIGHT, height)).toBe(3 * HEIGHT);
  expect(offsetFor(0, 99, height)).toBe(0);
});
