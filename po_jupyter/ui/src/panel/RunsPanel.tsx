/** The side panel as a widget of JupyterLab: connected while somebody can see it, and only then. */

import * as React from "react";
import { ReactWidget } from "@jupyterlab/apputils";
import type { IStateDB } from "@jupyterlab/statedb";
import type { Message } from "@lumino/messaging";
import type { Api } from "../api/client.js";
import { Store } from "../state/store.js";
import type { IPoLive } from "../tokens.js";
import { runVerbs } from "../views/runs/actions.js";
import type { Verbs } from "../views/runs/RunCard.js";
import { Runs } from "../views/runs/RunList.js";

const SAVED = "po-jupyter:panel";
/** Raised when the saved shape changes; another version's is not read. */
const SAVED_VERSION = 1;

export class RunsPanel extends ReactWidget {
  constructor(
    api: Api,
    private readonly live: IPoLive,
    private readonly saved: IStateDB | null
  ) {
    super();
    this.addClass("po-Panel");
    this.verbs = runVerbs(api, this.store.dispatch);
    this.store.subscribe(() => this.save());
  }

  override dispose(): void {
    this.stopWatching?.();
    super.dispose();
  }

  protected override render(): JSX.Element {
    return <Runs store={this.store} verbs={this.verbs} retryNow={() => this.live.retryNow()} />;
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    void this.follow();
  }

  protected override onBeforeDetach(message: Message): void {
    this.stopWatching?.();
    super.onBeforeDetach(message);
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    void this.follow();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this.stopWatching?.();
  }

  /** Watch the runs while the panel can be seen. */
  private async follow(): Promise<void> {
    this.restored ??= this.restore();
    await this.restored;
    if (!this.stopWatching && !this.isDisposed && this.isAttached && this.isVisible) {
      const stop = this.live.watch(null, this.store.dispatch);
      this.stopWatching = () => {
        stop();
        this.stopWatching = null;
        this.store.dispatch({ type: "link", link: { state: "idle" } });
      };
    }
  }

  private async restore(): Promise<void> {
    const found = (await this.saved?.fetch(SAVED).catch(() => undefined)) as
      | { version?: number; expanded?: Record<string, boolean> }
      | undefined;
    if (found?.version === SAVED_VERSION && found.expanded) {
      this.store.dispatch({ type: "restore", expanded: found.expanded });
    }
  }

  private save(): void {
    const { expanded, known } = this.store.get();
    if (known && expanded !== this.lastSaved) {
      this.lastSaved = expanded;
      void this.saved?.save(SAVED, { version: SAVED_VERSION, expanded: { ...expanded } });
    }
  }

  private readonly store = new Store();
  private readonly verbs: Verbs;
  private stopWatching: (() => void) | null = null;
  private restored: Promise<void> | null = null;
  private lastSaved: Readonly<Record<string, boolean>> | null = null;
}
