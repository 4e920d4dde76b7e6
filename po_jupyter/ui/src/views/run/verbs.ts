/** What can be done to the run of a page, with the questions that are asked before. */

import * as React from "react";
import { InputDialog } from "@jupyterlab/apputils";
import { confirm } from "../../components/dialogs.js";
import { failedRows, tightBudget } from "../../format/run.js";
import { RunActions } from "../runs/actions.js";
import type { Verbs } from "../runs/actions.js";
import { hasEnded } from "../../api/types.js";
import type { Failure, Run } from "../../api/types.js";
import type { Page } from "./context.js";
import { forkDialog } from "./ForkForm.js";
import { exportDialog } from "./exporting.js";
import { useSaving } from "./saving.js";
import type { Saving } from "./saving.js";
import { explain } from "../../api/client.js";

export interface Deed {
  label: string;
  title?: string;
  act: () => void;
}

export interface VerbSet extends Saving {
  busy: boolean;
  problem: Failure | null;
  retryFailed: Deed | null;
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
  const [busy, setBusy] = React.useState(false);
  const [problem, setProblem] = React.useState<Failure | null>(null);
  const { saving, save } = useSaving(setProblem);
  const { source, run } = page;
  const attempt = async (work: () => Promise<Run | null>): Promise<void> => {
    setBusy(true);
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
    setBusy(false);
  };
  const does = (work: () => Promise<Run | null>) => () => void attempt(work);
  const failed = run.state === "done" || run.state === "failed" ? failedRows(run) : 0;
  const { trans } = page;
  const actions = React.useMemo(() => new RunActions(source.api, () => undefined, trans, () => undefined), [source, trans]);
  const retryFailed = failed
    ? {
        label: trans._n("Retry %1 failed row", "Retry %1 failed rows", failed, failed),
        title: trans.__("Ask for the failed rows again. The others are kept, and not paid again."),
        act: does(() => source.api.resume(run.id, { only_failed: true }))
      }
    : null;
  return {
    busy,
    problem,
    saving,
    save,
    retryFailed,
    gate: {
      decide: (seen, decision, note) => void attempt(() => source.api.decide(seen.id, decision, note, seen.gate?.task)),
      draft: actions.draft,
      artifactUrl: actions.artifactUrl
    },
    deeds: deedsOf(page, does, retryFailed, save)
  };
}

type Does = (work: () => Promise<Run | null>) => () => void;

function deedsOf(page: Page, does: Does, retryFailed: Deed | null, save: Saving["save"]): Deed[] {
  const { run, source, trans } = page;
  const deeds: (Deed | null)[] = [retryFailed];
  if (!hasEnded(run)) {
    deeds.push({
      label: trans.__("Cancel"),
      title: trans.__("Stop this run. What is finished is kept, and Resume goes on from there."),
      act: does(() => source.api.cancel(run.id))
    });
  }
  if (run.state === "failed" || run.state === "cancelled") {
    deeds.push({
      label: trans.__("Resume"),
      title: trans.__("Go on from where this run ended. What is finished is not paid again."),
      act: does(() => resume(page))
    });
  }
  if (run.state === "dead") {
    deeds.push({
      label: trans.__("Requeue"),
      title: trans.__("Try this run again, from where it died. What is finished is not paid again."),
      act: does(() => source.api.requeue(run.id))
    });
  }
  if (hasEnded(run)) {
    deeds.push({ label: trans.__("Restart…"), act: does(() => restart(page)) });
  }
  deeds.push(
    {
      label: trans.__("Fork…"),
      title: trans.__("A new run with another prompt or model, that takes over what is finished before a task."),
      act: does(() => fork(page))
    },
    { label: trans.__("Export…"), act: does(() => exportDialog(page, save)) }
  );
  if (hasEnded(run)) {
    deeds.push({ label: trans.__("Delete…"), act: does(() => remove(page)) });
  }
  return deeds.filter(deed => deed !== null);
}

/** A run that ended at its budget needs a larger one, or it would end again at once. */
async function resume({ run, source, trans }: Page): Promise<Run | null> {
  if (run.error?.code !== "budget_exceeded") {
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
  const answer = await InputDialog.getItem({
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
