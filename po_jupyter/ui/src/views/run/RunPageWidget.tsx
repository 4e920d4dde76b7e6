/** A run's page as a widget of Lab's main area: it asks and watches only while it can be seen. */

import * as React from "react";
import { ReactWidget } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Message } from "@lumino/messaging";
import { enter, keepFocus } from "../../components/focus.js";
import { runsIcon } from "../../icon.js";
import type { IPoLive } from "../../tokens.js";
import type { Host } from "./context.js";
import type { Memory } from "./memory.js";
import { patched } from "./pageState.js";
import type { PageState, Patch } from "./pageState.js";
import { RunPage } from "./RunPage.js";
import type { RunSource } from "./source.js";
import "../../../style/run.css"; // with the page, not with the start of Lab

export interface RunPageOptions {
  source: RunSource;
  live: IPoLive;
  memory: Memory;
  state: PageState;
  host: Host;
  trans: TranslationBundle;
}

export class RunPageWidget extends ReactWidget {
  constructor(private readonly options: RunPageOptions) {
    super();
    this.state = options.state;
    this.id = `po-run-${options.source.id}`;
    this.addClass("po-RunPage");
    this.node.tabIndex = -1;
    this.title.label = options.trans.__("Run %1", options.source.id.slice(-6));
    this.title.caption = options.trans.__("Run %1", options.source.id);
    this.title.icon = runsIcon;
    this.title.closable = true;
  }

  /** The run as it was asked for, which is what the page is restored with. */
  get run(): string {
    return this.options.source.id;
  }

  /** Whether this is the page of the run with this id. */
  shows(run: string): boolean {
    return run === this.run || run === this.whole;
  }

  /** Sets what the page shows, and remembers it. */
  readonly patch = (patch: Patch): void => {
    this.state = patched(this.state, patch);
    this.options.memory.remember(this.run, this.state);
    this.update();
  };

  protected override render(): JSX.Element {
    const { source, live, host, trans } = this.options;
    return (
      <RunPage
        source={source}
        live={live}
        visible={this.isVisible}
        state={this.state}
        patch={this.patch}
        host={host}
        trans={trans}
        onRun={run => {
          this.whole = run.id;
          this.title.label = run.name;
        }}
      />
    );
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.update();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this.update();
  }

  /** A page that is closed is gone: one that was only put away would be found, and shown nowhere, by the next open. */
  protected override onCloseRequest(message: Message): void {
    super.onCloseRequest(message);
    this.dispose();
  }

  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    if (!this.node.contains(document.activeElement)) {
      enter(this.node);
    }
  }

  override dispose(): void {
    this.stopKeeping();
    super.dispose();
  }

  private readonly stopKeeping = keepFocus(this.node);
  private state: PageState;
  /** The run's id, when the page was asked for by the end of it. */
  private whole: string | null = null;
}
