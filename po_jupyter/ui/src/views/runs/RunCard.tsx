/** One run: a line that says how it stands, its buttons, and, opened, its tasks. React escapes all text (P6). */

import * as React from "react";
import { caretDownIcon, caretRightIcon } from "@jupyterlab/ui-components";
import type { Failure, Run } from "../../api/types.js";
import { hasEnded } from "../../api/types.js";
import { ErrorBox } from "../../components/ErrorBox.js";
import { ProgressBar } from "../../components/ProgressBar.js";
import { StateBadge } from "../../components/StateBadge.js";
import { useTrans } from "../../components/translation.js";
import * as format from "../../format/run.js";
import { duration, timestamp } from "../../format/time.js";
import { needOf } from "../../state/selectors.js";
import type { Speech } from "../../state/reducer.js";
import type { Verbs } from "./actions.js";
import { GateBox } from "./GateBox.js";
import { RunButtons } from "./RunButtons.js";
import { TaskRow } from "./TaskRow.js";
import { language, stateName } from "../../format/language.js";

export interface RunCardProps {
  run: Run;
  open: boolean;
  busy: string | undefined;
  problem: Failure | undefined;
  speech: Speech | undefined;
  /** Seconds since 1970. */
  now: number;
  verbs: Verbs;
  /** Whether the run stands among those that need a person, from where it can be put aside. */
  canDismiss?: boolean;
}

/** Redrawn only when its run changes, or each second while the run goes on. */
export const RunCard = React.memo(
  function RunCard({ run, open, busy, problem, speech, now, verbs, canDismiss }: RunCardProps): JSX.Element {
    const trans = useTrans();
    const bodyId = React.useId();
    const Caret = open ? caretDownIcon.react : caretRightIcon.react;
    const ended = hasEnded(run);
    const spent = [...format.usageParts(run.usage, run.budget.usd), ...format.budgetWarnings(run)];
    return (
      <article
        className={`po-Run po-is-${format.shownRunState(run)}`}
        data-run={run.id}
        data-state={run.state}
        aria-label={`${run.name}, ${stateName(run.state)}`}
      >
        <button
          type="button"
          className="po-Run-head"
          aria-expanded={open}
          aria-controls={open ? bodyId : undefined}
          onClick={() => verbs.toggle(run)}
        >
          <Caret className="po-Run-caret" tag="span" width="16px" />
          <span className="po-Run-name" title={run.name}>
            {run.name}
          </span>
          <StateBadge state={run.state} shown={format.shownRunState(run)} />
        </button>
        <div className="po-Run-line" title={trans.__("run %1 · %2", run.id, `${run.pipeline} ${run.version}`)}>
          {summary(run, now)}
        </div>
        {format.placeOf(run) && <div className="po-Run-line po-Run-place">{format.placeOf(run)}</div>}
        {run.state === "running" && (
          <ProgressBar share={format.runProgress(run)} label={trans.__("Progress of %1", run.name)} />
        )}
        {run.waiting && !ended && <ErrorBox failure={{ code: "held", message: run.waiting }} />}
        {run.error && !(open && isOfTask(run)) && <ErrorBox failure={run.error} brief={!open} />}
        {problem && <ErrorBox failure={problem} />}
        {needOf(run) === "gate" && <GateBox run={run} busy={busy} verbs={verbs} />}
        <div className="po-Run-foot">
          <span className="po-Run-spent">{spent.join(" · ")}</span>
          <RunButtons run={run} open={open} busy={busy} verbs={verbs} canDismiss={!!canDismiss && ended} />
        </div>
        {open && (
          <ol className="po-Tasks" id={bodyId} aria-label={trans.__("Tasks of %1", run.name)}>
            {run.tasks.map(task => (
              <TaskRow
                key={task.name}
                task={task}
                now={ended ? timestamp(run.updated_at) : now}
                speech={speech?.task === task.name ? speech : undefined}
              />
            ))}
          </ol>
        )}
      </article>
    );
  },
  (before, after) =>
    before.run === after.run &&
    before.open === after.open &&
    before.busy === after.busy &&
    before.problem === after.problem &&
    before.speech === after.speech &&
    before.verbs === after.verbs &&
    before.canDismiss === after.canDismiss &&
    (before.now === after.now || hasEnded(after.run))
);

/** Whether one of the tasks, which are shown, has the error of the run. */
function isOfTask(run: Run): boolean {
  return run.tasks.some(task => task.state === "failed" && task.error?.message === run.error?.message);
}

/** "tickets 1.0.0 · run 7f3a9c · task 2 of 3 · 00:41": what the head above it does not say. */
function summary(run: Run, now: number): string {
  const version = run.name === run.pipeline ? run.version : `${run.pipeline} ${run.version}`;
  // A gate says itself what it waits for.
  const state = stateName(run.state);
  const words = needOf(run) === "gate" ? state : format.stateWords(run);
  const seconds = format.runSeconds(run, now);
  return [
    version,
    format.runWord(run),
    ...(words === state ? [] : [words]),
    ...(run.state === "done" ? [language.trans._n("%1 task", "%1 tasks", run.tasks.length)] : format.place(run)),
    ...(run.state === "pending" || seconds === null ? [] : [duration(seconds)])
  ].join(" · ");
}
