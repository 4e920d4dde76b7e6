/** What a person can do to a run, wherever its card is drawn: the request, and before it the question where one is due. */

import { Dialog, InputDialog, showDialog } from "@jupyterlab/apputils";
import { explain } from "../../api/client.js";
import type { Api } from "../../api/client.js";
import type { Run } from "../../api/types.js";
import { tightBudget } from "../../format/run.js";
import type { Action } from "../../state/reducer.js";
import type { Verbs } from "./RunCard.js";

/** The verbs of cards whose state `dispatch` changes. */
export function runVerbs(api: Api, dispatch: (action: Action) => void): Verbs {
  const act = async (run: Run, verb: string, ask: () => Promise<Run>): Promise<void> => {
    dispatch({ type: "busy", id: run.id, verb });
    try {
      dispatch({ type: "run", run: await ask() });
      dispatch({ type: "answered", id: run.id });
    } catch (error) {
      dispatch({ type: "answered", id: run.id, problem: explain(error) });
    }
  };

  /** A run that ended at its budget needs a larger one, or it would end again at once. */
  const resume = async (run: Run): Promise<void> => {
    if (run.error?.code !== "budget_exceeded") {
      return act(run, "resume", () => api.resume(run.id, {}));
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
      await act(run, "resume", () => api.resume(run.id, { budget: { [unit]: limit } }));
    }
  };

  const restart = async (run: Run): Promise<void> => {
    const sure = await sureOf({
      title: `Restart ${run.name}?`,
      body: "All of its tasks are done again, and their calls to models are paid again.",
      word: "Restart"
    });
    if (sure) {
      await act(run, "restart", () => api.restart(run.id));
    }
  };

  const fork = async (run: Run): Promise<void> => {
    const answer = await InputDialog.getItem({
      title: `Fork ${run.name}`,
      label: "From which task on? What is finished before it is taken over, and not paid again.",
      items: run.tasks.map(task => task.name),
      okLabel: "Fork"
    });
    const task = answer.value;
    if (answer.button.accept && task !== null) {
      await act(run, "fork", () => api.fork(run.id, task));
    }
  };

  const discard = async (run: Run): Promise<void> => {
    const sure = await sureOf({
      title: `Discard ${run.name}?`,
      body: "The run, its outputs and its files are removed for good.",
      word: "Discard"
    });
    if (!sure) {
      return;
    }
    dispatch({ type: "busy", id: run.id, verb: "discard" });
    try {
      await api.discard(run.id);
      dispatch({ type: "gone", id: run.id });
    } catch (error) {
      dispatch({ type: "answered", id: run.id, problem: explain(error) });
    }
  };

  return {
    toggle: run => dispatch({ type: "toggle", id: run.id }),
    cancel: run => void act(run, "cancel", () => api.cancel(run.id)),
    resume: run => void resume(run),
    restart: run => void restart(run),
    fork: run => void fork(run),
    requeue: run => void act(run, "requeue", () => api.requeue(run.id)),
    discard: run => void discard(run),
    retryFailed: run => void act(run, "retry", () => api.resume(run.id, { only_failed: true })),
    decide: (run, decision, note) => void act(run, decision, () => api.decide(run.id, decision, note))
  };
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
