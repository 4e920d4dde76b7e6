/** News of runs through the system's own notifications, for a person who looks elsewhere. */

import { Notification as LabNotification } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Run } from "../api/types.js";

/** The part of a browser that shows them; null where there is none. */
export type SystemNotification = typeof Notification | null;

export class SystemNotices {
  constructor(
    private readonly trans: TranslationBundle,
    private readonly open: (run: Run | null) => void,
    private system: SystemNotification = "Notification" in globalThis ? globalThis.Notification : null,
    private readonly page: Pick<Document, "hidden" | "hasFocus"> = document
  ) {}

  /** Ask the browser for leave. Called when the person turns the setting on, and never before. */
  async ask(): Promise<void> {
    const answer = this.system ? await this.system.requestPermission() : "denied";
    if (answer === "denied") {
      LabNotification.warning(
        this.trans.__("This browser does not allow system notifications: allow them for this page in its settings."),
        { autoClose: false }
      );
    }
  }

  /** Tell it, unless the person looks at the page, which shows it too. */
  tell(message: string, run: Run | null): void {
    if (!this.system || (!this.page.hidden && this.page.hasFocus())) {
      return;
    }
    if (this.system.permission === "default") {
      this.offer();
    } else if (this.system.permission === "granted") {
      this.show(this.system, message, run);
    }
  }

  private show(system: typeof Notification, message: string, run: Run | null): void {
    try {
      // A later one of the same run takes the place of the one before.
      const notice = new system(this.trans.__("Prompt runs"), { body: message, tag: `po-jupyter ${run?.id ?? ""}` });
      notice.onclick = () => {
        window.focus();
        notice.close();
        this.open(run);
      };
    } catch {
      // Chrome on Android takes them from a service worker alone, and Lab has none: the page's own notice has to do.
      this.system = null;
    }
  }

  /** The setting is on, and this browser was never asked: once, with a button, as browsers want a click. */
  private offer(): void {
    if (!this.offered) {
      this.offered = true;
      LabNotification.info(this.trans.__("System notifications are turned on, and not yet allowed in this browser."), {
        actions: [{ label: this.trans.__("Allow"), callback: () => void this.ask() }],
        autoClose: false
      });
    }
  }

  private offered = false;
}
