// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { patch } from "../GrowingText.js";

function textWith(data: string, start: number, end: number): { node: Text; selected: () => string } {
  const node = document.body.appendChild(document.createTextNode(data));
  const range = document.createRange();
  range.setStart(node, start);
  range.setEnd(node, end);
  return { node, selected: () => range.toString() };
}

const LONG = "It is a long answer, and it goes on and on until the beginning of it is cut away.";

describe("a text that grows", () => {
  it("keeps what is selected in it", () => {
    const { node, selected } = textWith("the answer is", 4, 10);
    patch(node, "the answer is 42");
    expect([node.data, selected()]).toEqual(["the answer is 42", "answer"]);
  });

  it("keeps it also when its beginning is cut", () => {
    const { node, selected } = textWith(LONG, 8, 19);
    expect(selected()).toBe("long answer");
    patch(node, LONG.slice(5) + " And more.");
    expect([node.data, selected()]).toEqual([LONG.slice(5) + " And more.", "long answer"]);
  });

  it.each(["", "something else", LONG, LONG + LONG, "aaaaab".repeat(20)])("becomes any text: %s", text => {
    for (const before of ["", "x", LONG, "aaaaa".repeat(20)]) {
      const { node } = textWith(before, 0, 0);
      patch(node, text);
      expect(node.data).toBe(text);
    }
  });
});
