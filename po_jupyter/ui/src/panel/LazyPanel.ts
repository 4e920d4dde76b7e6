/** The side panel's place in Lab. What it shows is loaded when it is first seen. */

import type { Message } from "@lumino/messaging";
import { Panel } from "@lumino/widgets";
import type { Widget } from "@lumino/widgets";

export class LazyPanel extends Panel {
  constructor(private readonly load: () => Promise<Widget>) {
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

  private fill(): void {
    if (!this.isVisible || this.filled) {
      return;
    }
    this.filled = true;
    this.load().then(
      widget => (this.isDisposed ? widget.dispose() : this.addWidget(widget)),
      error => {
        this.filled = false; // shown again, it tries again
        console.error("po_jupyter: the panel could not be loaded", error);
      }
    );
  }

  private filled = false;
}
