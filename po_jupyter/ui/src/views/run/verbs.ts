/** What can be done to the run of a page, with the questions that are asked before. */

import * as React from "react";
import { Dialog, InputDialog, showDialog } from "@jupyterlab/apputils";
import { chooseItem, confirm } from "../../components/dialogs.js";
import { failedRows, needsMoreBudget, shortId, tightBudget } from "../../format/run.js";
import { confirmMove, RunActions } from "../runs/actions.js";
import type { Verbs } from "../runs/actions.js";
import { hasEnded, mayDo } from "../../api/types.js";
import type { Failure, Run } from "../../api/types.js";
import type { Page } from "./context.js";
import { forkDialog } from "./ForkForm.js";
import { exportDialog } from "./exporting.js";
import { useSaving } from "./saving.js";
import type { Saving } from "./saving.js";
import { explain } from "../../api/client.js";

export interface Deed {
  /** Of all runs the same, whatever the label says. */
  verb: string;
  label: string;
  title?: string;
  /** The label while its request is under way. */
  doing?: string;
  act: () => void;
}

export interface VerbSet extends Saving {
  /** The verb that is under way: one at a time. */
  busy: string | null;
  problem: Failure | null;
  retryFailed: Deed | null;
  /** Asks for rows of a map again, by index, with the state that each was seen in; `done` when that is accepted. */
  retryRows: (task: string, rows: ReadonlyMap<number, string>, done: () => void) => void;
  /** Shows why something could not be done. */
  fail: (error: unknown) => void;
  gate: Pick<Verbs, "decide" | "draft" | "artifactUrl">;
  /** The first ones are those that one needs most. */
  deeds: Deed[];
}

const Shared = React.createContext<VerbSet | null>(null);
export const VerbsProvider = Shared.Provider;

export function useVerbs(): VerbSet {
  const verbs = React.useContext(Shared);
  if (!verbs) {
    throw new Error("a button of a run's page outside of it");
  }
  return verbs;
}

/** Made once a page; the parts share it, so that one thing is done at a time. */
export function useVerbSet(page: Page): VerbSet {
  const [busy, setBusy] = React.useState<string | null>(null);
  const [problem, setProblem] = React.useState<Failure | null>(null);
  const { saving, save } = useSaving(setProblem);
  const { source, run } = page;
  const attempt = async (verb: string, work: () => Promise<Run | null>): Promise<void> => {
    setBusy(verb);
    setProblem(null);
    try {
      const answer = await work();
      if (answer && answer.id === run.id) {
        page.answered(answer);
      } else if (answer) {
        page.host.openRun(answer.id);
      }
    } catch (error) {
      setProblem(explain(error));
    }
    setBusy(null);
  };
  const does: Does = (verb, work) => () => void attempt(verb, work);
  const failed = mayDo(run, "runs:write") && (run.state === "done" || run.state === "failed") ? failedRows(run) : 0;
  const { trans } = page;
  const actions = React.useMemo(() => new RunActions(source.api, () => undefined, trans, () => undefined), [source, trans]);
  const retryFailed = failed
    ? {
        verb: "retry",
        doing: trans.__("Retrying…"),
        label: trans._n("Retry %1 failed row", "Retry %1 failed rows", failed, failed),
        title: trans.__("Ask for the failed rows again. The others are kept, and not paid again."),
        act: does("retry", () => source.api.resume(run.id, { only_failed: true }))
      }
    : null;
  return {
    busy,
    problem,
    saving,
    save,
    retryFailed,
    retryRows: (task, rows, done) => void attempt("rows", () => retryRows(page, task, rows, done)),
    fail: error => setProblem(explain(error)),
    gate: {
      decide: (seen, decision, note) => void attempt(decision, () => source.api.decide(seen.id, decision, note, seen.gate?.task)),
      draft: actions.draft,
      artifactUrl: actions.artifactUrl
    },
    deeds: deedsOf(page, does, retryFailed, save)
  };
}

type Does = (verb: string, work: () => Promise<Run | null>) => () => void;

/** What one may not do with a shared run is not offered. */
function deedsOf(page: Page, does: Does, retryFailed: Deed | null, save: Saving["save"]): Deed[] {
  const deeds = allDeeds(page, does, retryFailed, save);
  return mayDo(page.run, "runs:write") ? deeds : deeds.filter(deed => READING.has(deed.verb));
}

const READING: ReadonlySet<string> = new Set(["export", "compare"]);

function allDeeds(page: Page, does: Does, retryFailed: Deed | null, save: Saving["save"]): Deed[] {
  const { run, source, trans } = page;
  const deeds: (Deed | null)[] = [retryFailed];
  if (!hasEnded(run)) {
    deeds.push({
      verb: "cancel",
      doing: trans.__("Cancelling…"),
      label: trans.__("Cancel"),
      title: trans.__("Stop this run. What is finished is kept, and Resume goes on from there."),
      act: does("cancel", () => source.api.cancel(run.id))
    });
  }
  if (run.state === "failed" || run.state === "cancelled") {
    deeds.push({
      verb: "resume",
      label: trans.__("Resume"),
      title: trans.__("Go on from where this run ended. What is finished is not paid again."),
      act: does("resume", () => resume(page))
    });
  }
  if (run.state === "dead") {
    deeds.push({
      verb: "requeue",
      doing: trans.__("Requeueing…"),
      label: trans.__("Requeue"),
      title: trans.__("Try this run again, from where it died. What is finished is not paid again."),
      act: does("requeue", () => source.api.requeue(run.id))
    });
  }
  if (hasEnded(run) && run.state !== "moved") {
    deeds.push({ verb: "restart", label: trans.__("Restart…"), act: does("restart", () => restart(page)) });
  }
  deeds.push(
    {
      verb: "fork",
      label: trans.__("Fork…"),
      title: trans.__("A new run with another prompt or model, that takes over what is finished before a task."),
      act: does("fork", () => fork(page))
    },
    { verb: "export", label: trans.__("Export…"), act: does("export", () => exportDialog(page, save)) }
  );
  if (run.tasks.some(task => task.items)) {
    deeds.push({
      verb: "compare",
      label: trans.__("Compare with…"),
      title: trans.__("The rows of this run beside those of another one. Nothing is asked of a model."),
      act: does("compare", () => compare(page))
    });
  }
  if (source.api.shared.mayMove(run)) {
    deeds.push({
      verb: "move",
      doing: trans.__("Moving…"),
      label: trans.__("Move to shared…"),
      title: trans.__("It goes on among the shared runs of the hub, without your server."),
      act: does("move", async () => ((await confirmMove(run, trans)) ? source.api.move(run.id) : null))
    });
  }
  if (hasEnded(run)) {
    deeds.push({ verb: "delete", label: trans.__("Delete…"), act: does("delete", () => remove(page)) });
  }
  return deeds.filter(deed => deed !== null);
}

/** A run that ended at its budget needs a larger one, or it would end again at once. */
async function resume({ run, source, trans }: Page): Promise<Run | null> {
  if (!needsMoreBudget(run)) {
    return source.api.resume(run.id, {});
  }
  const { unit, suggested } = tightBudget(run);
  const answer = await InputDialog.getNumber({
    title: trans.__("Budget of %1", run.name),
    label:
      unit === "usd"
        ? trans.__("US dollars for the whole run, what it spent so far included")
        : trans.__("Tokens for the whole run, what it spent so far included"),
    value: suggested,
    okLabel: trans.__("Resume")
  });
  return answer.button.accept && answer.value !== null ? source.api.resume(run.id, { budget: { [unit]: answer.value } }) : null;
}

async function restart({ run, source, state, trans }: Page): Promise<Run | null> {
  const all = trans.__("all of it");
  const names = run.tasks.map(task => task.name);
  const answer = await chooseItem({
    title: trans.__("Restart %1", run.name),
    label: trans.__("From which task on? It and what follows is done again, and paid again."),
    items: [all, ...names],
    current: Math.max(0, names.indexOf(state.task) + 1),
    okLabel: trans.__("Restart")
  });
  if (!answer.button.accept || answer.value === null) {
    return null;
  }
  return source.api.restart(run.id, answer.value === all ? {} : { task: answer.value });
}

async function fork(page: Page): Promise<Run | null> {
  const { pipeline } = await page.source.pipeline();
  const body = await forkDialog(page, pipeline);
  return body && page.source.api.fork(page.run.id, body.task, body.changed);
}

/** Rows that are done are paid again, so that is asked before. */
async function retryRows({ run, source, trans }: Page, task: string, rows: ReadonlyMap<number, string>, done: () => void): Promise<Run | null> {
  const paid = [...rows.values()].filter(state => state === "done").length;
  if (paid) {
    const sure = await confirm({
      title: trans._n("Ask for %1 row again?", "Ask for %1 rows again?", rows.size, rows.size),
      body: trans._n("%1 of them has an answer: it is replaced, and paid again.", "%1 of them have an answer: it is replaced, and paid again.", paid, paid),
      word: trans.__("Ask again")
    });
    if (!sure) {
      return null;
    }
  }
  const body = { rows: { [task]: [...rows.keys()].sort((a, b) => a - b) }, ...(paid && { include_done: true }) };
  const answer = await source.api.resume(run.id, body);
  done();
  return answer;
}

/** Asks which other run of the pipeline, and shows the two. */
async function compare({ run, source, patch, trans }: Page): Promise<null> {
  const { runs } = await source.api.runs({ pipeline: run.pipeline, limit: 100 });
  const others = new Map(runs.filter(other => other.id !== run.id).map(other => [otherLabel(other), other.id]));
  if (!others.size) {
    await showDialog({
      title: trans.__("Compare %1", run.name),
      body: trans.__("There is no other run of %1. A fork with another prompt or model makes one.", run.pipeline),
      buttons: [Dialog.okButton()]
    });
    return null;
  }
  const answer = await chooseItem({
    title: trans.__("Compare %1", run.name),
    label: trans.__("With which run of %1?", run.pipeline),
    items: [...others.keys()],
    okLabel: trans.__("Compare")
  });
  const other = answer.button.accept && answer.value !== null ? others.get(answer.value) : undefined;
  if (other) {
    patch({ tab: "compare", compare: { run: other, open: null } });
  }
  return null;
}

function otherLabel(run: Run): string {
  return `${run.name} · ${shortId(run.id)} · ${run.state} · ${new Date(run.created_at).toLocaleString()}`;
}

async function remove({ run, source, host, trans }: Page): Promise<null> {
  const sure = await confirm({
    title: trans.__("Delete %1?", run.name),
    body: trans.__("The run, its outputs and its files are removed for good."),
    word: trans.__("Delete")
  });
  if (sure) {
    await source.api.deleteRun(run.id);
    host.deleted();
  }
  return null;
}
