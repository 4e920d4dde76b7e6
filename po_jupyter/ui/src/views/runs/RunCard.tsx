/** One run: a line that says how it stands, its buttons, and, opened, its tasks. React escapes all text (P6). */

import * as React from "react";
import { caretDownIcon, caretRightIcon } from "@jupyterlab/ui-components";
import * as format from "../../format/run.js";
import type { Speech } from "../../state/reducer.js";
import type { Failure, Run, RunState, Task, TaskState } from "../../api/types.js";
import { hasEnded } from "../../api/types.js";

const GLYPHS: Record<RunState | TaskState, string> = {
  pending: "○",
  running: "▸",
  waiting: "‖",
  done: "✓",
  failed: "✗",
  dead: "✗",
  skipped: "–",
  cancelled: "■"
};

/** What a person can do to a run. */
export interface Verbs {
  toggle(run: Run): void;
  cancel(run: Run): void;
  resume(run: Run): void;
  retryFailed(run: Run): void;
  restart(run: Run): void;
  fork(run: Run): void;
  requeue(run: Run): void;
  discard(run: Run): void;
  decide(run: Run, decision: "approve" | "reject", note: string): void;
}

interface CardProps {
  run: Run;
  open: boolean;
  busy: string | undefined;
  problem: Failure | undefined;
  speech: Speech | undefined;
  now: number;
  verbs: Verbs;
}

/** Redrawn only when its run changes, or each second while the run goes on. */
export const Card = React.memo(
  function Card({ run, open, busy, problem, speech, now, verbs }: CardProps): JSX.Element {
    const bodyId = `po-run-${run.id}`;
    const Caret = open ? caretDownIcon.react : caretRightIcon.react;
    return (
      <li className={`po-Run po-is-${format.runState(run)}`} data-run={run.id} data-state={run.state}>
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
          <State run={run} />
        </button>
        <div className="po-Run-line" title={`run ${run.id} · ${run.pipeline} ${run.version}`}>
          {headline(run, now)}
        </div>
        {run.state !== "pending" && <Bar share={format.progress(run)} label={`Progress of ${run.name}`} />}
        <div className="po-Run-foot">
          <span className="po-Run-spent">{format.spent(run)}</span>
          <Buttons run={run} open={open} busy={busy} verbs={verbs} />
        </div>
        {run.waiting && !hasEnded(run) && <Problem failure={{ code: "held", message: run.waiting }} />}
        {run.error && !(open && isOfTask(run)) && <Problem failure={run.error} />}
        {problem && <Problem failure={problem} />}
        {run.state === "waiting" && run.gate && !run.gate.decision && (
          <GateBox run={run} busy={busy} decide={verbs.decide} />
        )}
        {open && (
          <ol className="po-Tasks" id={bodyId} aria-label={`Tasks of ${run.name}`}>
            {run.tasks.map(task => (
              <TaskRow
                key={task.name}
                run={run}
                task={task}
                now={now}
                speech={speech?.task === task.name ? speech : undefined}
              />
            ))}
          </ol>
        )}
      </li>
    );
  },
  (before, after) =>
    before.run === after.run &&
    before.open === after.open &&
    before.busy === after.busy &&
    before.problem === after.problem &&
    before.speech === after.speech &&
    (before.now === after.now || hasEnded(after.run))
);

/** Whether one of the tasks, which are shown, has the error of the run. */
function isOfTask(run: Run): boolean {
  return run.tasks.some(task => task.state === "failed" && task.error?.message === run.error?.message);
}

function headline(run: Run, now: number): string {
  const parts = [run.version, `run ${format.shortId(run.id)}`, format.place(run)];
  if (run.name !== run.pipeline) {
    parts.unshift(run.pipeline);
  }
  if (run.state === "pending") {
    parts.push(run.position ? `${ordinal(run.position)} in the queue` : "starting");
  } else {
    parts.push(format.clock(format.elapsed(run, now)));
  }
  return parts.join(" · ");
}

function ordinal(position: number): string {
  const teens = position % 100 > 10 && position % 100 < 14;
  return position + (teens ? "th" : ({ 1: "st", 2: "nd", 3: "rd" }[position % 10] ?? "th"));
}

function State({ run }: { run: Run }): JSX.Element {
  return (
    <span className="po-State">
      <span aria-hidden="true">{GLYPHS[format.runState(run)]}</span> {run.state}
    </span>
  );
}

function Bar({ share, label }: { share: number; label: string }): JSX.Element {
  // 99.9 % is not done: only the end is 100.
  const percent = share >= 1 ? 100 : Math.floor(share * 100);
  return (
    <div className="po-Bar">
      <div
        className="po-Bar-track"
        role="progressbar"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={percent}
      >
        <div className="po-Bar-fill" style={{ width: `${share * 100}%` }} />
      </div>
      <span className="po-Bar-percent" aria-hidden="true">
        {percent} %
      </span>
    </div>
  );
}

interface ButtonsProps {
  run: Run;
  /** What is wanted seldom is there only while the card is open. */
  open: boolean;
  busy: string | undefined;
  verbs: Verbs;
}

function Buttons({ run, open, busy, verbs }: ButtonsProps): JSX.Element {
  const failedRows = run.state === "done" || run.state === "failed" ? format.failedRows(run) : 0;
  return (
    <span className="po-Buttons">
      {failedRows > 0 && (
        <Button
          label={`Retry ${failedRows} failed ${failedRows === 1 ? "row" : "rows"}`}
          doing={busy === "retry" ? "Retrying…" : null}
          disabled={!!busy}
          of={run}
          onClick={() => verbs.retryFailed(run)}
        />
      )}
      {!hasEnded(run) && (
        <Button
          label="Cancel"
          title="Stop this run. What is finished is kept, and Resume goes on from there."
          doing={busy === "cancel" ? "Cancelling…" : null}
          disabled={!!busy}
          of={run}
          onClick={() => verbs.cancel(run)}
        />
      )}
      {open && run.state === "dead" && (
        <Button
          label="Discard…"
          title="Remove this run and all that it made, for good."
          doing={busy === "discard" ? "Discarding…" : null}
          disabled={!!busy}
          of={run}
          onClick={() => verbs.discard(run)}
        />
      )}
      {open && hasEnded(run) && (
        <>
          <Button
            label="Fork…"
            title="A new run that takes over what is finished before a task. This one stays as it is."
            doing={busy === "fork" ? "Forking…" : null}
            disabled={!!busy}
            of={run}
            onClick={() => verbs.fork(run)}
          />
          <Button
            label="Restart…"
            title="Do all of it again. What is finished is paid again."
            doing={busy === "restart" ? "Restarting…" : null}
            disabled={!!busy}
            of={run}
            onClick={() => verbs.restart(run)}
          />
        </>
      )}
      {hasEnded(run) && run.state !== "done" && run.state !== "dead" && (
        <Button
          label="Resume"
          title="Go on from where this run ended. What is finished is not paid again."
          doing={busy === "resume" ? "Resuming…" : null}
          disabled={!!busy}
          of={run}
          onClick={() => verbs.resume(run)}
        />
      )}
      {run.state === "dead" && (
        <Button
          label="Requeue"
          title="Try this run again, from where it died. What is finished is not paid again."
          doing={busy === "requeue" ? "Requeueing…" : null}
          disabled={!!busy}
          of={run}
          onClick={() => verbs.requeue(run)}
        />
      )}
    </span>
  );
}

interface ButtonProps {
  label: string;
  title?: string;
  /** The word while its request is under way, else null. */
  doing: string | null;
  disabled: boolean;
  accent?: boolean;
  of: Run;
  onClick: () => void;
}

function Button({ label, title, doing, disabled, accent, of, onClick }: ButtonProps): JSX.Element {
  return (
    <button
      type="button"
      className={accent ? "po-Button po-is-accent" : "po-Button"}
      title={title}
      aria-label={`${doing ?? label} run ${of.name} ${format.shortId(of.id)}`}
      disabled={disabled}
      onClick={onClick}
    >
      {doing ?? label}
    </button>
  );
}

function Problem({ failure }: { failure: Failure }): JSX.Element {
  const traceback = format.traceback(failure);
  return (
    <div className="po-Problem">
      <div className="po-Problem-message">{failure.message}</div>
      {failure.hint && <div className="po-Problem-hint">{failure.hint}</div>}
      {traceback && <pre className="po-Problem-traceback">{traceback}</pre>}
    </div>
  );
}

interface GateProps {
  run: Run;
  busy: string | undefined;
  decide: Verbs["decide"];
}

function GateBox({ run, busy, decide }: GateProps): JSX.Element {
  const [note, setNote] = React.useState("");
  const gate = run.gate!;
  return (
    <div className="po-Gate" role="group" aria-label={`Gate of ${run.name}`}>
      <div className="po-Gate-message">
        {gate.task ? `${gate.task} waits for you` : "This run waits for you"}
        {gate.message ? `: ${gate.message}` : "."}
      </div>
      {!!gate.artifacts?.length && <div className="po-Gate-files">To look at: {gate.artifacts.join(", ")}</div>}
      <input
        className="po-Input"
        type="text"
        value={note}
        placeholder="Note (optional)"
        aria-label="Note for the decision"
        onChange={event => setNote(event.target.value)}
      />
      <div className="po-Buttons">
        <Button
          label="Reject"
          title="End this run here. It can be resumed."
          doing={busy === "reject" ? "Rejecting…" : null}
          disabled={!!busy}
          of={run}
          onClick={() => decide(run, "reject", note.trim())}
        />
        <Button
          label="Approve"
          doing={busy === "approve" ? "Approving…" : null}
          disabled={!!busy}
          accent
          of={run}
          onClick={() => decide(run, "approve", note.trim())}
        />
      </div>
    </div>
  );
}

interface TaskProps {
  run: Run;
  task: Task;
  now: number;
  speech: Speech | undefined;
}

function TaskRow({ run, task, now, speech }: TaskProps): JSX.Element {
  return (
    <li className={`po-Task po-is-${format.taskState(task)}`} data-task={task.name} data-state={task.state}>
      <span className="po-Task-glyph" aria-hidden="true">
        {GLYPHS[format.taskState(task)]}
      </span>
      <div className="po-Task-body">
        <div className="po-Task-title">
          <span className="po-Task-name">{task.name}</span>
          <span className="po-Task-stand">{stand(run, task, now)}</span>
        </div>
        {task.items && (
          <>
            <div className="po-Task-detail">{format.rows(task)}</div>
            {task.state === "running" && task.items.total > 0 && (
              <Bar share={(task.items.done + task.items.failed) / task.items.total} label={`Rows of ${task.name}`} />
            )}
          </>
        )}
        {(task.usage.calls > 0 || (task.usage.cached_calls ?? 0) > 0) && (
          <div className="po-Task-detail">
            {format.tokens(task.usage)} · {format.money(task.usage.cost)}
            {task.usage.cached_calls ? ` · ${format.cached(task.usage)}` : ""}
          </div>
        )}
        {task.waiting && task.state === "running" && <div className="po-Task-waiting">{task.waiting}</div>}
        {task.state === "skipped" && task.reason && <div className="po-Task-waiting">skipped: {task.reason}</div>}
        {task.error && <Problem failure={task.error} />}
        {speech && task.state === "running" && (
          <div className="po-Speech">
            <div>
              {speech.item !== null && <span className="po-Speech-row">row {speech.item} │ </span>}
              {speech.text}
            </div>
          </div>
        )}
      </div>
    </li>
  );
}

/** "inference · attempt 2 · 00:12" while it goes on, "done · 12.1 s" after. */
function stand(run: Run, task: Task, now: number): string {
  const running = task.state === "running";
  const parts = [running ? (task.stage ?? "starting") : task.state];
  if (task.attempt > 1) {
    parts.push(`attempt ${task.attempt}`);
  }
  const seconds = task.state === "pending" ? null : format.taskSeconds(run, task, now);
  if (seconds !== null) {
    parts.push(running ? format.clock(seconds) : format.duration(seconds));
  }
  if (task.kind === "python") {
    parts.push("python");
  }
  return parts.join(" · ");
}
