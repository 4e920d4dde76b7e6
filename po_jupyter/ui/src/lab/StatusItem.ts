/** The item of the status bar: a button with the runs in a few words. */

import { Widget } from "@lumino/widgets";

export class StatusItem extends Widget {
  constructor(caption: string, open: () => void) {
    super({ node: document.createElement("button") });
    this.addClass("po-StatusItem");
    this.node.title = caption;
    this.node.addEventListener("click", open);
  }

  /** The text; nothing is drawn that has not changed. */
  set text(text: string) {
    if (this.node.textContent !== text) {
      this.node.textContent = text;
    }
  }
}
