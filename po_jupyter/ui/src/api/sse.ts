/** Server-sent events out of a streamed body; `EventSource` cannot send an Authorization header. */

export interface Frame {
  event: string;
  data: string;
}

/**
 * Collects chunks and returns the frames that became whole. Comments (the server's pings) and frames
 * without data are swallowed. A frame that grows past `limit` characters is an error: the sender is not ours.
 */
export class FrameParser {
  constructor(private readonly limit = 32 * 1024 * 1024) {}

  push(chunk: string): Frame[] {
    const lines = (this.rest + chunk).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop() ?? "";
    const frames: Frame[] = [];
    for (const line of lines) {
      if (line === "") {
        if (this.data.length) {
          frames.push({ event: this.event || "message", data: this.data.join("\n") });
        }
        this.event = "";
        this.data = [];
        this.size = 0;
      } else {
        this.field(line);
      }
    }
    if (this.size + this.rest.length > this.limit) {
      throw new Error("the server sent an event that is too large to be one of ours");
    }
    return frames;
  }

  private field(line: string): void {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") {
      this.event = value;
    } else if (name === "data") {
      this.data.push(value);
      this.size += value.length;
    }
  }

  private rest = "";
  private event = "";
  private data: string[] = [];
  private size = 0;
}
