import { describe, expect, it } from "vitest";
import { StartKey } from "../startKey.js";

describe("the key of a form that starts a run", () => {
  it("is the same when it is sent again, and another after an edit or a start", () => {
    const key = new StartKey();
    const first = key.of({ pipeline: "p", seed: { name: "a" } });
    expect(first).toMatchObject({ pipeline: "p", seed: { name: "a" } });
    expect(key.of({ pipeline: "p", seed: { name: "a" } })).toEqual(first);
    const edited = key.of({ pipeline: "p", seed: { name: "b" } }).idempotency_key;
    expect(edited).not.toBe(first.idempotency_key);
    key.done();
    expect(key.of({ pipeline: "p", seed: { name: "b" } }).idempotency_key).not.toBe(edited);
  });
});
