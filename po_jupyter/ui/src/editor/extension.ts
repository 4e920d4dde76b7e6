/** An extension of every editor: it looks whether there is a pipeline, and does nothing as long as there is none. */

import type { Extension } from "@codemirror/state";
import { Compartment } from "@codemirror/state";
import type { EditorView, ViewUpdate } from "@codemirror/view";
import { ViewPlugin } from "@codemirror/view";
import type { Lines, PipelineCell } from "./pipelineCell.js";

/** Reads the pipeline that a text is; null where it is none. */
export type Reader = (text: Lines) => PipelineCell | null;

/** Loads what a pipeline has beyond other texts. */
export type Loader = (read: Reader, isFile: boolean) => Promise<Extension>;

/** `load` gives what a pipeline has beyond other texts; it is called when `read` finds one. */
export function pipelineCells(read: Reader, load: Loader): Extension {
  const help = new Compartment();
  return [help.of([]), ViewPlugin.define(view => new Detector(view, help, read, load))];
}

type Kind = "cell" | "file" | null;

class Detector {
  constructor(
    private readonly view: EditorView,
    private readonly help: Compartment,
    private readonly read: Reader,
    private readonly load: Loader
  ) {
    this.look();
  }

  update(update: ViewUpdate): void {
    if (update.docChanged) {
      this.look();
    }
  }

  destroy(): void {
    this.ended = true;
  }

  private look(): void {
    const found = this.read(this.view.state.doc);
    const kind = found && (found.line ? "cell" : "file");
    if (kind !== this.kind) {
      this.kind = kind;
      void this.switch(kind);
    }
  }

  /** Not at once: an editor cannot be changed while it tells of a change. */
  private async switch(kind: Kind): Promise<void> {
    const extension = kind ? await this.load(this.read, kind === "file") : await Promise.resolve([]);
    if (!this.ended && this.kind === kind) {
      this.view.dispatch({ effects: this.help.reconfigure(extension) });
    }
  }

  private kind: Kind = null;
  private ended = false;
}
