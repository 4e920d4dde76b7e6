/** The side panel as a widget of JupyterLab: it watches the runs while somebody can see it, and only then. */

import * as React from "react";
import { ReactWidget } from "@jupyterlab/apputils";
import type { ServiceManager } from "@jupyterlab/services";
import type { IStateDB } from "@jupyterlab/statedb";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { CommandRegistry } from "@lumino/commands";
import type { Message } from "@lumino/messaging";
import type { Api } from "../api/client.js";
import type { LiveEvent } from "../api/events.js";
import { keepFocus } from "../components/focus.js";
import { Translation } from "../components/translation.js";
import { fromSaved, scrollFromSaved, toSaved } from "../state/persistence.js";
import type { Remembered } from "../state/reducer.js";
import { ScrollMemory } from "../state/ScrollMemory.js";
import { Store } from "../state/store.js";
import type { IPoLive } from "../tokens.js";
import { commandIds } from "../tokens.js";
import { LabKernels } from "../views/pipelines/kernelValues.js";
import { RunActions } from "../views/runs/actions.js";
import { PanelView } from "./PanelView.js";
import { RunLoader } from "./RunLoader.js";

const SAVED = "po-jupyter:panel";
/** Milliseconds without scrolling after which the place is kept. */
const SCROLL_RESTS = 500;

export interface PanelServices {
  api: Api;
  /** Where notebooks have their kernels. */
  services: ServiceManager.IManager;
  live: IPoLive;
  saved: IStateDB | null;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

export class RunsPanel extends ReactWidget {
  constructor(private readonly services: PanelServices) {
    super();
    this.addClass("po-Panel");
    const { api, trans, commands } = services;
    this.kernels = new LabKernels(services.services);
    this.openRun = id => void commands.execute(commandIds.openRun, { run: id });
    this.verbs = new RunActions(api, this.store.dispatch, trans, run => this.openRun(run.id));
    this.loader = new RunLoader(api, this.store);
    this.store.subscribe(() => this.save());
  }

  override dispose(): void {
    this.stopWatching?.();
    this.stopKeeping();
    clearTimeout(this.saving);
    super.dispose();
  }

  protected override render(): JSX.Element {
    return (
      <Translation.Provider value={this.services.trans}>
        <PanelView
          api={this.services.api}
          kernels={this.kernels}
          store={this.store}
          verbs={this.verbs}
          loader={this.loader}
          scroll={this.scroll}
          openRun={this.openRun}
          retryNow={() => this.services.live.retryNow()}
        />
      </Translation.Provider>
    );
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
      const stop = this.services.live.watch(null, this.hear);
      this.stopWatching = () => {
        stop();
        this.stopWatching = null;
        this.store.dispatch({ type: "link", link: { state: "idle" } });
      };
    }
  }

  private readonly hear = (event: LiveEvent): void => {
    this.store.dispatch(event);
    if (event.type === "snapshot") {
      void this.loader.refresh();
    }
  };

  private async restore(): Promise<void> {
    const found = await this.services.saved?.fetch(SAVED).catch(() => undefined);
    const saved = fromSaved(found);
    this.scroll.places = scrollFromSaved(found);
    this.lastSaved = saved;
    this.store.dispatch({ type: "restore", saved });
  }

  private save(): void {
    const { expanded, dismissed, filters, tab, known } = this.store.get();
    const last = this.lastSaved;
    const changed =
      last?.expanded !== expanded || last.dismissed !== dismissed || last.filters !== filters || last.tab !== tab;
    if (known && changed) {
      this.lastSaved = { expanded, dismissed, filters, tab };
      this.write(this.lastSaved);
    }
  }

  private write(saved: Remembered): void {
    clearTimeout(this.saving);
    void this.services.saved?.save(SAVED, toSaved(saved, this.scroll.places));
  }

  /** Somebody scrolled: kept once they rest. */
  private readonly scrolled = (): void => {
    clearTimeout(this.saving);
    this.saving = setTimeout(() => this.lastSaved && this.write(this.lastSaved), SCROLL_RESTS);
  };

  private readonly kernels: LabKernels;
  private readonly scroll = new ScrollMemory(this.scrolled);
  private saving: ReturnType<typeof setTimeout> | undefined;
  private readonly store = new Store();
  private readonly openRun: (id: string) => void;
  private readonly verbs: RunActions;
  private readonly loader: RunLoader;
  private stopWatching: (() => void) | null = null;
  private readonly stopKeeping = keepFocus(this.node);
  private restored: Promise<void> | null = null;
  private lastSaved: Remembered | null = null;
}
