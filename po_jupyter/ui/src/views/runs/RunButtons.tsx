import * as React from "react";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Run } from "../../api/types.js";
import { hasEnded, mayDo } from "../../api/types.js";
import { Button } from "../../components/Button.js";
import { useSettled } from "../../components/useSettled.js";
import { useTrans } from "../../components/translation.js";
import { failedRows, shortId } from "../../format/run.js";
import type { Verbs } from "./actions.js";

interface RunButtonsProps {
  run: Run;
  /** What is wanted seldom is there only while the card is open. */
  open: boolean;
  busy: string | undefined;
  verbs: Verbs;
  canDismiss: boolean;
}

interface Choice {
  label: string;
  title?: string;
  verb: string;
  doing: string;
  onClick: (run: Run) => void;
}

export function RunButtons({ run, open, busy, verbs, canDismiss }: RunButtonsProps): JSX.Element | null {
  const trans = useTrans();
  const choices = [...seldom(run, open, verbs, trans), ...often(run, open || canDismiss, verbs, trans)];
  // Those of an open card: the person who opens it sees what comes.
  const verbsOfState = [...seldom(run, true, verbs, trans), ...often(run, true, verbs, trans)].map(choice => choice.verb);
  const settled = useSettled(verbsOfState.join());
  return (
    <div className="po-Buttons">
      {canDismiss && (
        <Button
          label={trans.__("Put aside")}
          description={trans.__("run %1 %2", run.name, shortId(run.id))}
          title={trans.__("Out of what needs you; it stays in the history.")}
          disabled={!settled}
          onClick={() => verbs.dismiss(run)}
        />
      )}
      {choices.map(choice => (
        <Button
          key={choice.verb}
          label={choice.label}
          description={trans.__("run %1 %2", run.name, shortId(run.id))}
          title={choice.title}
          doing={busy === choice.verb ? choice.doing : null}
          disabled={!!busy || !settled}
          onClick={() => choice.onClick(run)}
        />
      ))}
      <Button
        label={trans.__("Open")}
        description={trans.__("run %1 %2", run.name, shortId(run.id))}
        title={trans.__("Tasks, rows, calls, data, logs, files and money of this run")}
        onClick={() => verbs.open(run)}
      />
    </div>
  );
}

function seldom(run: Run, open: boolean, verbs: Verbs, trans: TranslationBundle): Choice[] {
  if (!open || !mayDo(run, "runs:write")) {
    return [];
  }
  const move: Choice = {
    label: trans.__("Move to shared…"),
    title: trans.__("It goes on among the shared runs of the hub, without your server."),
    verb: "move",
    doing: trans.__("Moving…"),
    onClick: verbs.move
  };
  const moves = verbs.mayMove(run) ? [move] : [];
  if (!hasEnded(run)) {
    return moves;
  }
  const fork: Choice = {
    label: trans.__("Fork…"),
    title: trans.__("A new run that takes over what is finished before a task. This one stays as it is."),
    verb: "fork",
    doing: trans.__("Forking…"),
    onClick: verbs.fork
  };
  const restart: Choice = {
    label: trans.__("Restart…"),
    title: trans.__("Do all of it again. What is finished is paid again."),
    verb: "restart",
    doing: trans.__("Restarting…"),
    onClick: verbs.restart
  };
  const discard: Choice = {
    label: trans.__("Discard…"),
    title: trans.__("Remove this run and all that it made, for good."),
    verb: "discard",
    doing: trans.__("Discarding…"),
    onClick: verbs.discard
  };
  if (run.state === "moved") {
    return [fork];
  }
  return run.state === "dead" ? [discard, fork, restart, ...moves] : [fork, restart, ...moves];
}

function often(run: Run, open: boolean, verbs: Verbs, trans: TranslationBundle): Choice[] {
  const choices: Choice[] = [];
  if (!mayDo(run, "runs:write")) {
    return choices;
  }
  const failed = run.state === "done" || run.state === "failed" ? failedRows(run) : 0;
  if (failed > 0) {
    choices.push({
      label: trans._n("Retry %1 failed row", "Retry %1 failed rows", failed),
      verb: "retry",
      doing: trans.__("Retrying…"),
      onClick: verbs.retryFailed
    });
  }
  if (!hasEnded(run)) {
    choices.push({
      label: trans.__("Cancel"),
      title: trans.__("Stop this run. What is finished is kept, and Resume goes on from there."),
      verb: "cancel",
      doing: trans.__("Cancelling…"),
      onClick: verbs.cancel
    });
  }
  if (run.state === "failed" || (run.state === "cancelled" && open)) {
    choices.push({
      label: trans.__("Resume"),
      title: trans.__("Go on from where this run ended. What is finished is not paid again."),
      verb: "resume",
      doing: trans.__("Resuming…"),
      onClick: verbs.resume
    });
  }
  if (run.state === "dead") {
    choices.push({
      label: trans.__("Requeue"),
      title: trans.__("Try this run again, from where it died. What is finished is not paid again."),
      verb: "requeue",
      doing: trans.__("Requeueing…"),
      onClick: verbs.requeue
    });
  }
  return choices;
}
