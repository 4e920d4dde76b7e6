/** The side panel as a widget of JupyterLab: connected while somebody can see it, and only then. */

import * as React from "react";
import { Dialog, InputDialog, ReactWidget, showDialog } from "@jupyterlab/apputils";
import type { IStateDB } from "@jupyterlab/statedb";
import type { Message } from "@lumino/messaging";
import { explain } from "../api/client.js";
import type { Api } from "../api/client.js";
import type { Verbs } from "../views/runs/RunCard.js";
import { tightBudget } from "../format/run.js";
import { Runs } from "../views/runs/RunList.js";
import { Store } from "../state/store.js";
import type { Run } from "../api/types.js";
import type { IPoLive } from "../tokens.js";

const SAVED = "po-jupyter:panel";
/** Raised when the saved shape changes; another version's is not read. */
const SAVED_VERSION = 1;

export class RunsPanel extends ReactWidget {
  constructor(
    private readonly api: Api,
    private readonly live: IPoLive,
    private readonly saved: IStateDB | null
  ) {
    super();
    this.addClass("po-Panel");
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

  private async act(run: Run, verb: string, ask: () => Promise<Run>): Promise<void> {
    this.store.dispatch({ type: "busy", id: run.id, verb });
    try {
      this.store.dispatch({ type: "run", run: await ask() });
      this.store.dispatch({ type: "answered", id: run.id });
    } catch (error) {
      this.store.dispatch({ type: "answered", id: run.id, problem: explain(error) });
    }
  }

  /** A run that ended at its budget needs a larger one, or it would end again at once. */
  private async resume(run: Run): Promise<void> {
    if (run.error?.code !== "budget_exceeded") {
      return this.act(run, "resume", () => this.api.resume(run.id, {}));
    }
    const { unit, suggested } = tightBudget(run);
    const answer = await InputDialog.getNumber({
      title: `Budget of ${run.name}`,
      label: `${unit === "usd" ? "US dollars" : "Tokens"} for the whole run, what it spent so far included`,
      value: suggested,
      okLabel: "Resume"
    });
    const limit = answer.value;
    if (answer.button.accept && limit !== null) {
      await this.act(run, "resume", () => this.api.resume(run.id, { budget: { [unit]: limit } }));
    }
  }

  private async restart(run: Run): Promise<void> {
    const sure = await sureOf({
      title: `Restart ${run.name}?`,
      body: "All of its tasks are done again, and their calls to models are paid again.",
      word: "Restart"
    });
    if (sure) {
      await this.act(run, "restart", () => this.api.restart(run.id));
    }
  }

  private async fork(run: Run): Promise<void> {
    const answer = await InputDialog.getItem({
      title: `Fork ${run.name}`,
      label: "From which task on? What is finished before it is taken over, and not paid again.",
      items: run.tasks.map(task => task.name),
      okLabel: "Fork"
    });
    const task = answer.value;
    if (answer.button.accept && task !== null) {
      await this.act(run, "fork", () => this.api.fork(run.id, task));
    }
  }

  private async discard(run: Run): Promise<void> {
    const sure = await sureOf({
      title: `Discard ${run.name}?`,
      body: "The run, its outputs and its files are removed for good.",
      word: "Discard"
    });
    if (!sure) {
      return;
    }
    this.store.dispatch({ type: "busy", id: run.id, verb: "discard" });
    try {
      await this.api.discard(run.id);
      this.store.dispatch({ type: "gone", id: run.id });
    } catch (error) {
      this.store.dispatch({ type: "answered", id: run.id, problem: explain(error) });
    }
  }

  private readonly verbs: Verbs = {
    toggle: run => this.store.dispatch({ type: "toggle", id: run.id }),
    cancel: run => void this.act(run, "cancel", () => this.api.cancel(run.id)),
    resume: run => void this.resume(run),
    restart: run => void this.restart(run),
    fork: run => void this.fork(run),
    requeue: run => void this.act(run, "requeue", () => this.api.requeue(run.id)),
    discard: run => void this.discard(run),
    retryFailed: run => void this.act(run, "retry", () => this.api.resume(run.id, { only_failed: true })),
    decide: (run, decision, note) =>
      void this.act(run, decision, () => this.api.decide(run.id, decision, note))
  };

  private readonly store = new Store();
  private stopWatching: (() => void) | null = null;
  private restored: Promise<void> | null = null;
  private lastSaved: Readonly<Record<string, boolean>> | null = null;
}

/** Ask before something that costs or cannot be taken back. */
async function sureOf({ title, body, word }: { title: string; body: string; word: string }): Promise<boolean> {
  const answer = await showDialog({
    title,
    body,
    buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: word })],
    defaultButton: 0
  });
  return answer.button.accept;
}
