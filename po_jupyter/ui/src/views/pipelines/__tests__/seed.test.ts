import { describe, expect, it } from "vitest";
import { fileTexts, rowsField, seedData, seedFields, shownFields, typedValue } from "../seed.js";

const DEFINITION = {
  name: "tickets",
  tasks: [
    { name: "label", prompt: "{{ item.text }} of {{ seed.product }}", for_each: "{{ seed.rows }}" },
    { name: "sum", prompt: [{ role: "user", content: "{{ seed.tone }} {{ seed.product }} {{ seed.x_1 | upper }}" }] }
  ]
};
const FIELDS = seedFields(DEFINITION);

describe("the form of a start", () => {
  it("shows also what a file has beside what the templates name, as all of it is sent", () => {
    const texts = fileTexts("a.seed.json", JSON.stringify({ name: "s", data: { product: "pen", extra: [1] } }), FIELDS);
    expect(shownFields(FIELDS, texts)).toEqual([...FIELDS, { name: "extra", isList: true }]);
    expect(rowsField(FIELDS)?.name).toBe("rows");
    expect(rowsField([])).toBeUndefined();
  });

  it("asks for what the templates name", () => {
    expect(FIELDS).toEqual([
      { name: "product", isList: false },
      { name: "rows", isList: true },
      { name: "tone", isList: false },
      { name: "x_1", isList: false }
    ]);
    expect(seedFields({ name: "none", tasks: ["python"] })).toEqual([]);
  });

  it("takes JSON as JSON, and all else as a text", () => {
    expect(["", "  ", "7", '"7"', "[1]", "a [b"].map(typedValue)).toEqual([undefined, undefined, 7, "7", [1], "a [b"]);
    expect(seedData({ a: "1", b: "", c: "x" })).toEqual({ a: 1, c: "x" });
  });

  it("is filled by a seed file, an object, a list and a CSV file", () => {
    expect(fileTexts("s.json", '{"name": "s", "data": {"product": "7", "rows": [1]}}', FIELDS)).toEqual({ product: '"7"', rows: "[1]" });
    expect(fileTexts("s.json", '{"product": "pen"}', FIELDS)).toEqual({ product: "pen" });
    expect(fileTexts("s.json", "[1, 2]", FIELDS)).toEqual({ rows: "[1,2]" });
    const rows = JSON.parse(fileTexts("s.csv", '\uFEFFtext;n\r\n"a;b";1\r\n\r\nc;2\r\n', FIELDS).rows!);
    expect(rows).toEqual([{ text: "a;b", n: "1" }, { text: "c", n: "2" }]);
    expect(JSON.parse(fileTexts("s.csv", "text\none\ntwo\n", FIELDS).rows!)).toEqual([{ text: "one" }, { text: "two" }]);
  });

  it("gives back what the file had, whatever it was", () => {
    const data = { product: "true", tone: "a\nb", x_1: { deep: [null] }, rows: ["1"] };
    expect(seedData(fileTexts("s.json", JSON.stringify(data), FIELDS))).toEqual(data);
  });

  it("says what is wrong with a file", () => {
    expect(() => fileTexts("s.json", "{", FIELDS)).toThrow(/s.json is not JSON/);
    expect(() => fileTexts("s.json", "7", FIELDS)).toThrow(/an object or a list/);
    expect(() => fileTexts("s.csv", 'a,b\n"1,2', FIELDS)).toThrow(/s.csv: Quoted field unterminated/);
    expect(() => fileTexts("s.json", "[1]", [])).toThrow(/asks its seed for nothing/);
  });
});
