/** One stream of events, kept open while it is wanted: it comes back by itself, and says how it stands. */

import { FrameParser } from "../api/sse.js";
import type { LiveEvent } from "../api/events.js";
import { understand } from "../api/events.js";
import { language } from "../format/language.js";
import type { Failure } from "../api/types.js";

/** The server pings every 15 s; three missed ones are a dead connection. */
const SILENCE = 45_000;
const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 30_000;

export class EventStream {
  constructor(
    private readonly open: (signal: AbortSignal) => Promise<Response>,
    private readonly dispatch: (event: LiveEvent) => void,
    private readonly explain: (error: unknown) => Failure
  ) {}

  start(): void {
    if (!this.running) {
      this.running = new AbortController();
      void this.keepOpen(this.running.signal);
    }
  }

  stop(): void {
    this.running?.abort();
    this.running = null;
    this.dispatch({ type: "link", link: { state: "idle" } });
  }

  /** Ends the wait for the next try. */
  retryNow(): void {
    this.wake();
  }

  private async keepOpen(stopped: AbortSignal): Promise<void> {
    let failures = 0;
    while (!stopped.aborted) {
      this.dispatch({ type: "link", link: { state: "connecting" } });
      let problem: Failure;
      try {
        await this.listen(stopped, () => (failures = 0));
        problem = { code: "closed", message: language.trans.__("The server closed the stream."), hint: "" };
      } catch (error) {
        problem = this.explain(error);
      }
      if (stopped.aborted) {
        return;
      }
      // Half of the wait is chance, so that many browsers do not come back in one moment.
      const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failures++);
      const wait = longest * (0.5 + Math.random() / 2);
      this.dispatch({ type: "link", link: { state: "lost", problem, retryAt: Date.now() + wait } });
      await this.sleep(wait, stopped);
    }
  }

  private async listen(stopped: AbortSignal, heard: () => void): Promise<void> {
    const attempt = new AbortController();
    const end = (): void => attempt.abort();
    stopped.addEventListener("abort", end);
    let watchdog = setTimeout(end, SILENCE);
    try {
      const response = await this.open(attempt.signal);
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      const parser = new FrameParser();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) {
          return;
        }
        clearTimeout(watchdog);
        watchdog = setTimeout(end, SILENCE);
        for (const frame of parser.push(value)) {
          const event = understand(frame.event, frame.data);
          if (event?.type === "snapshot") {
            heard();
            this.dispatch({ type: "link", link: { state: "live" } });
          }
          if (event && !stopped.aborted) {
            this.dispatch(event);
          }
        }
      }
    } finally {
      clearTimeout(watchdog);
      stopped.removeEventListener("abort", end);
      attempt.abort();
    }
  }

  private sleep(milliseconds: number, stopped: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(() => this.wake(), milliseconds);
      this.wake = () => {
        clearTimeout(timer);
        stopped.removeEventListener("abort", this.wake);
        resolve();
      };
      stopped.addEventListener("abort", this.wake, { once: true });
    });
  }

  private running: AbortController | null = null;
  private wake: () => void = () => undefined;
}
