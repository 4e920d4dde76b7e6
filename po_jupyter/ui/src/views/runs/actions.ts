/** What a person can do to a run, with the questions before it and the news after it. */

import { InputDialog } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Row } from "../../api/answers.js";
import type { Api } from "../../api/client.js";
import { explain } from "../../api/client.js";
import type { Run } from "../../api/types.js";
import { chooseItem, confirm } from "../../components/dialogs.js";
import { needsMoreBudget, tightBudget } from "../../format/run.js";
import type { Action } from "../../state/reducer.js";

/** Rows of a map that stand in a gate. */
const DRAFT_ROWS = 5;

/** What lies at a gate to be decided on: the output of its task, or the first rows of it. */
export type Draft = { rows: Row[]; more: boolean } | { output: unknown };

export interface Verbs {
  toggle(run: Run): void;
  /** Open the run's page. */
  open(run: Run): void;
  dismiss(run: Run): void;
  cancel(run: Run): void;
  resume(run: Run): void;
  retryFailed(run: Run): void;
  restart(run: Run): void;
  fork(run: Run): void;
  requeue(run: Run): void;
  discard(run: Run): void;
  move(run: Run): void;
  /** Whether there is a service of shared runs that may take the run. */
  mayMove(run: Run): boolean;
  /** `run` as it was shown: its gate is the one that is decided. */
  decide(run: Run, decision: "approve" | "reject", note: string): void;
  draft(run: Run): Promise<Draft | null>;
  artifactUrl(run: Run, path: string): string;
}

/** Asks before a run leaves this server: there is no way back. */
export function confirmMove(run: Run, trans: TranslationBundle): Promise<boolean> {
  return confirm({
    title: trans.__("Move %1 to the shared runs?", run.name),
    body: trans.__(
      "It goes on in the hub, without your server, with all that it did; nothing is paid twice. It does not come back: here it can only be looked at, forked and deleted."
    ),
    word: trans.__("Move")
  });
}

/** The verbs over HTTP; what comes of them goes to `dispatch`. `open` opens the page of a run. */
export class RunActions implements Verbs {
  constructor(
    private readonly api: Api,
    private readonly dispatch: (action: Action) => void,
    private readonly trans: TranslationBundle,
    private readonly openPage: (run: Run) => void
  ) {}

  readonly toggle = (run: Run): void => this.dispatch({ type: "toggle", id: run.id });
  readonly open = (run: Run): void => this.openPage(run);
  readonly dismiss = (run: Run): void => this.dispatch({ type: "dismiss", id: run.id });
  readonly cancel = (run: Run): void => void this.act(run, "cancel", () => this.api.cancel(run.id));
  readonly requeue = (run: Run): void => void this.act(run, "requeue", () => this.api.requeue(run.id));
  readonly retryFailed = (run: Run): void =>
    void this.act(run, "retry", () => this.api.resume(run.id, { only_failed: true }));
  readonly decide = (run: Run, decision: "approve" | "reject", note: string): void =>
    void this.act(run, decision, () => this.api.decide(run.id, decision, note, run.gate?.task));

  /** A run that ended at its budget needs a larger one, or it would end again at once. */
  readonly resume = async (run: Run): Promise<void> => {
    if (!needsMoreBudget(run)) {
      return this.act(run, "resume", () => this.api.resume(run.id, {}));
    }
    const { unit, suggested } = tightBudget(run);
    const answer = await InputDialog.getNumber({
      title: this.trans.__("Budget of %1", run.name),
      label:
        unit === "usd"
          ? this.trans.__("US dollars for the whole run, what it spent so far included")
          : this.trans.__("Tokens for the whole run, what it spent so far included"),
      value: suggested,
      okLabel: this.trans.__("Resume")
    });
    const limit = answer.value;
    if (answer.button.accept && limit !== null) {
      await this.act(run, "resume", () => this.api.resume(run.id, { budget: { [unit]: limit } }));
    }
  };

  readonly restart = async (run: Run): Promise<void> => {
    const sure = await confirm({
      title: this.trans.__("Restart %1?", run.name),
      body: this.trans.__("All of its tasks are done again, and their calls to models are paid again."),
      word: this.trans.__("Restart")
    });
    if (sure) {
      await this.act(run, "restart", () => this.api.restart(run.id));
    }
  };

  readonly fork = async (run: Run): Promise<void> => {
    const answer = await chooseItem({
      title: this.trans.__("Fork %1", run.name),
      label: this.trans.__("From which task on? What is finished before it is taken over, and not paid again."),
      items: run.tasks.map(task => task.name),
      okLabel: this.trans.__("Fork")
    });
    const task = answer.value;
    if (answer.button.accept && task !== null) {
      await this.act(run, "fork", () => this.api.fork(run.id, task), this.openPage);
    }
  };

  readonly discard = async (run: Run): Promise<void> => {
    const sure = await confirm({
      title: this.trans.__("Discard %1?", run.name),
      body: this.trans.__("The run, its outputs and its files are removed for good."),
      word: this.trans.__("Discard")
    });
    if (!sure) {
      return;
    }
    this.dispatch({ type: "busy", id: run.id, verb: "discard" });
    try {
      await this.api.discard(run.id);
      this.dispatch({ type: "gone", id: run.id });
    } catch (error) {
      this.dispatch({ type: "answered", id: run.id, problem: explain(error) });
    }
  };

  readonly mayMove = (run: Run): boolean => this.api.shared.mayMove(run);

  readonly move = async (run: Run): Promise<void> => {
    if (await confirmMove(run, this.trans)) {
      await this.act(run, "move", () => this.api.move(run.id));
    }
  };

  /** What the person at the gate decides on; null where there is nothing to show. */
  readonly draft = async (run: Run): Promise<Draft | null> => {
    const name = run.gate?.task?.split(".").at(-1);
    if (!name) {
      return null;
    }
    const at = run.gate?.run ? await this.api.run(run.gate.run) : run;
    if (at.tasks.find(task => task.name === name)?.items) {
      const { items, next } = await this.api.items(at.id, { task: name, limit: DRAFT_ROWS });
      return { rows: items, more: next !== null };
    }
    const outputs = await this.api.outputs(at.id, name);
    return name in outputs ? { output: outputs[name] } : null;
  };

  readonly artifactUrl = (run: Run, path: string): string => this.api.artifactUrl(run.gate?.run ?? run.id, path);

  /** `then` gets the run of the answer. */
  private async act(run: Run, verb: string, ask: () => Promise<Run>, then?: (found: Run) => void): Promise<void> {
    this.dispatch({ type: "busy", id: run.id, verb });
    try {
      const found = await ask();
      this.dispatch({ type: "run", run: found });
      this.dispatch({ type: "answered", id: run.id });
      then?.(found);
    } catch (error) {
      this.dispatch({ type: "answered", id: run.id, problem: explain(error) });
    }
  }
}
