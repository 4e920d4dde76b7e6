import { describe, expect, it } from "vitest";
import { understand } from "../events.js";
import { FrameParser } from "../sse.js";

const TEXT =
  ': ping\n\nevent: run\r\ndata: {"a":\r\ndata: 1}\r\n\r\n' + "event: empty\n\ndata: ✓\n\nid: 7\nevent: x\ndata:y\n\n";
const FRAMES = [
  { event: "run", data: '{"a":\n1}' },
  { event: "message", data: "✓" },
  { event: "x", data: "y" }
];

describe("the stream of events", () => {
  it("gives the same frames wherever the network cuts it (P8)", () => {
    for (let cut = 0; cut <= TEXT.length; cut++) {
      const parser = new FrameParser();
      expect([...parser.push(TEXT.slice(0, cut)), ...parser.push(TEXT.slice(cut))]).toEqual(FRAMES);
    }
    const parser = new FrameParser();
    expect([...TEXT].flatMap(letter => parser.push(letter))).toEqual(FRAMES);
  });

  it("refuses an event without an end: one that is not ours cannot fill the memory (P11)", () => {
    const parser = new FrameParser(1000);
    expect(() => {
      for (let n = 0; n < 200; n++) {
        parser.push("data: 0123456789\n");
      }
    }).toThrow(/too large/);
  });

  it("says how many runs are worked on (B14), and means nothing by what a newer server adds", () => {
    expect(understand("snapshot", '{"runs": [], "limit": 8}')).toEqual({ type: "snapshot", runs: [], limit: 8 });
    expect(understand("of the future", "{}")).toBeNull();
  });
});
