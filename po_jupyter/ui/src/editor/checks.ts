/** The checks of a run while a pipeline is written: some time after the last key, and never two at once. */

import type { Lines, PipelineCell } from "./pipelineCell.js";
import { pipelineCell } from "./pipelineCell.js";
import type { Underline } from "./positions.js";
import { underline } from "./positions.js";
import type { PipelineText, Violation } from "./requests.js";

export type Validate = (text: PipelineText, signal: AbortSignal) => Promise<Violation[]>;

/** Milliseconds after the last change. */
export const DELAY = 300;
/** A longer text is not checked while it is written. */
export const LONGEST = 100_000;

/** What is checked: its lines, and the part of the text between two offsets. */
export interface Checked extends Lines {
  sliceString(from: number, to?: number): string;
  readonly length: number;
}

export class Checks {
  /** `show` gets the mistakes of the newest text; it is not called for one that has changed meanwhile. */
  constructor(
    private readonly validate: Validate,
    private readonly show: (mistakes: Underline[]) => void,
    private readonly read: (text: Checked) => PipelineCell | null = pipelineCell,
    private readonly delay = DELAY
  ) {}

  /** The text is another one: what runs is given up, and a check of this one begins after the delay. */
  changed(text: Checked): void {
    this.stop();
    this.timer = setTimeout(() => void this.check(text), this.delay);
  }

  /** Give up what waits or runs. */
  stop(): void {
    clearTimeout(this.timer);
    this.running?.abort();
    this.running = null;
  }

  private async check(text: Checked): Promise<void> {
    const cell = this.read(text);
    if (!cell || text.length > LONGEST || !text.sliceString(cell.body).trim()) {
      this.show([]);
      return;
    }
    const running = new AbortController();
    this.running = running;
    let violations: Violation[];
    try {
      violations = await this.validate(bodyOf(text, cell), running.signal);
    } catch {
      violations = []; // a server that does not answer is no mistake of the text
    }
    if (!running.signal.aborted) {
      this.running = null;
      this.show(violations.map(violation => underline(violation, text, cell)));
    }
  }

  private timer: ReturnType<typeof setTimeout> | undefined;
  private running: AbortController | null = null;
}

function bodyOf(text: Checked, cell: PipelineCell): PipelineText {
  // Text of one line would be taken for the name of a registered pipeline.
  const body = { pipeline: `${text.sliceString(cell.body)}\n`, ...(cell.line && { name: cell.name }) };
  return cell.model ? { ...body, model: cell.model } : body;
}
