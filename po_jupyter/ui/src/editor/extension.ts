/** An extension of every editor: it looks at the first line, and does nothing as long as that is no pipeline's. */

import type { Extension } from "@codemirror/state";
import { Compartment } from "@codemirror/state";
import type { EditorView, ViewUpdate } from "@codemirror/view";
import { ViewPlugin } from "@codemirror/view";
import { pipelineCell } from "./pipelineCell.js";

/** `load` gives what a pipeline cell has beyond others; it is called when there is one. */
export function pipelineCells(load: () => Promise<Extension>): Extension {
  const help = new Compartment();
  return [help.of([]), ViewPlugin.define(view => new FirstLine(view, help, load))];
}

class FirstLine {
  constructor(
    private readonly view: EditorView,
    private readonly help: Compartment,
    private readonly load: () => Promise<Extension>
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
    const isPipeline = pipelineCell(this.view.state.doc) !== null;
    if (isPipeline !== this.isPipeline) {
      this.isPipeline = isPipeline;
      void this.switch(isPipeline);
    }
  }

  /** Not at once: an editor cannot be changed while it tells of a change. */
  private async switch(isPipeline: boolean): Promise<void> {
    const extension = isPipeline ? await this.load() : await Promise.resolve([]);
    if (!this.ended && this.isPipeline === isPipeline) {
      this.view.dispatch({ effects: this.help.reconfigure(extension) });
    }
  }

  private isPipeline = false;
  private ended = false;
}
