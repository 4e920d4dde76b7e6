/** The side panel's place in Lab. What it shows is loaded when it is first seen. */

import type { Message } from "@lumino/messaging";
import type { TranslationBundle } from "@jupyterlab/translation";
import { Panel } from "@lumino/widgets";
import { Widget } from "@lumino/widgets";
import { enter } from "../components/focus.js";

export class LazyPanel extends Panel {
  constructor(
    private readonly load: () => Promise<Widget>,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.addClass("po-Side");
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.fill();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.fill();
  }

  /** Shown by a command: the keyboard goes with it. */
  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    if (!this.node.contains(document.activeElement)) {
      enter(this.node);
    }
  }

  private fill(): void {
    if (!this.isVisible || this.filled) {
      return;
    }
    this.filled = true;
    this.failure?.dispose();
    this.failure = null;
    this.load().then(
      widget => (this.isDisposed ? widget.dispose() : this.addWidget(widget)),
      error => {
        this.filled = false; // shown again, it tries again
        console.error("po_jupyter: the panel could not be loaded", error);
        this.tell();
      }
    );
  }

  /** What there is instead of an empty panel; plain nodes, as React has not been loaded either. */
  private tell(): void {
    if (this.isDisposed) {
      return;
    }
    const failure = new Widget();
    failure.addClass("po-Problem");
    failure.node.setAttribute("role", "alert");
    const message = failure.node.appendChild(document.createElement("div"));
    message.textContent = this.trans.__("The panel could not be loaded.");
    const again = failure.node.appendChild(document.createElement("button"));
    again.type = "button";
    again.className = "po-Button";
    again.textContent = this.trans.__("Try again");
    again.onclick = () => this.fill();
    this.failure = failure;
    this.addWidget(failure);
  }

  private failure: Widget | null = null;

  private filled = false;
}
