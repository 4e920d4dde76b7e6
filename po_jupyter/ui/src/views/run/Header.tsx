/** How a run stands, why it waits, and what can be done to it. */

import * as React from "react";
import { InputDialog } from "@jupyterlab/apputils";
import { Button } from "../../components/Button.js";
import { ErrorBox } from "../../components/ErrorBox.js";
import { StateBadge } from "../../components/StateBadge.js";
import { useSettled } from "../../components/useSettled.js";
import { budgetWarnings, place, placeOf, runProgress, runSeconds, runWord, shortId, shownRunState, usageParts } from "../../format/run.js";
import { duration, elapsed } from "../../format/time.js";
import { GateBox } from "../runs/GateBox.js";
import { hasEnded } from "../../api/types.js";
import type { Run } from "../../api/types.js";
import { needOf } from "../../state/selectors.js";
import { usePage } from "./context.js";
import { eta, etaText } from "./eta.js";
import { useVerbs } from "./verbs.js";
import type { TranslationBundle } from "@jupyterlab/translation";
import { stateName } from "../../format/language.js";

export function Header(): JSX.Element {
  const { run, now, trans } = usePage();
  const verbs = useVerbs();
  const settled = useSettled(verbs.deeds.map(deed => deed.verb).join());
  return (
    <section className="po-Header" aria-label={trans.__("Run")}>
      <div className="po-Header-top">
        <h2 title={run.id}>{run.name}</h2>
        <StateBadge state={run.state} shown={shownRunState(run)} />
        <span className="po-Verbs">
          {verbs.deeds.map((deed, index) => (
            <Button
              key={deed.verb}
              label={deed.label}
              title={deed.title}
              doing={verbs.busy === deed.verb ? deed.doing : null}
              disabled={verbs.busy !== null || !settled}
              accent={index === 0 && deed === verbs.retryFailed}
              onClick={deed.act}
            />
          ))}
          <CopyLink />
        </span>
      </div>
      <p className="po-Header-line">{facts(run, now, trans).join(" · ")}</p>
      {!hasEnded(run) && run.state !== "pending" && <Progress run={run} />}
      {placeOf(run) && <p className="po-Header-line">{placeOf(run)}</p>}
      <Forked run={run} />
      {waits(run).map(([task, reason]) => (
        <p key={task} className="po-Waiting">
          {task ? trans.__("%1 waits: %2", task, reason) : reason}
        </p>
      ))}
      {run.error && <ErrorBox failure={run.error} />}
      {[...verbs.saving.keys()].some(key => key.startsWith("export ")) && (
        <p className="po-Quiet" role="status">
          {trans.__("Preparing the export…")}
        </p>
      )}
      {verbs.problem && (
        <div role="alert">
          <ErrorBox failure={verbs.problem} />
        </div>
      )}
      {needOf(run) === "gate" && <GateBox run={run} busy={verbs.busy ?? undefined} verbs={verbs.gate} />}
      <p className="po-Hidden" role="status">
        {trans.__("%1 is %2", run.name, stateName(run.state))}
      </p>
    </section>
  );
}

function facts(run: Run, now: number, trans: TranslationBundle): string[] {
  const parts = [`${run.pipeline === run.name ? "" : `${run.pipeline} `}${run.version}`, runWord(run)];
  parts.push(...place(run));
  if (run.state === "pending") {
    parts.push(run.position ? trans.__("place %1 in the queue", run.position) : trans.__("starting"));
  } else {
    const seconds = runSeconds(run, now) ?? 0;
    parts.push(hasEnded(run) ? elapsed(seconds) : duration(seconds));
  }
  const left = eta(run, now);
  if (left) {
    const whole = run.tasks.filter(task => !task.ended_at).length === 1;
    parts.push(whole ? trans.__("%1 left", etaText(left)) : trans.__("%1 left for %2", etaText(left), left.task));
  }
  parts.push(...usageParts(run.usage, run.budget.usd), ...budgetWarnings(run));
  return parts;
}

/** At most four: who waits, and why. */
function waits(run: Run): [string, string][] {
  if (hasEnded(run)) {
    return [];
  }
  const own: [string, string][] = run.waiting ? [["", run.waiting]] : [];
  const tasks = run.tasks.flatMap<[string, string]>(task =>
    task.state === "running" && task.waiting ? [[task.name, task.waiting]] : []
  );
  return [...own, ...tasks].slice(0, 4);
}

function Progress({ run }: { run: Run }): JSX.Element {
  const { trans } = usePage();
  const share = runProgress(run);
  const percent = share >= 1 ? 100 : Math.floor(share * 100);
  return (
    <div className={`po-Bar po-is-${shownRunState(run)}`}>
      <div
        className="po-Bar-track"
        role="progressbar"
        aria-label={trans.__("Progress of %1", run.name)}
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

function Forked({ run }: { run: Run & { forked_from?: { run?: string; from_task?: string } | null } }): JSX.Element | null {
  const { host, trans } = usePage();
  const from = run.forked_from?.run;
  if (!from) {
    return null;
  }
  return (
    <p className="po-Quiet">
      <button type="button" className="po-Link" onClick={() => host.openRun(from)}>
        {trans.__("Forked from run %1, from %2 on", shortId(from), run.forked_from?.from_task ?? "")}
      </button>
    </p>
  );
}

function CopyLink(): JSX.Element {
  const { host, state, trans } = usePage();
  const [copied, setCopied] = React.useState(false);
  const copy = async (): Promise<void> => {
    const link = host.link(state);
    try {
      // Undefined where the page came over plain http from another machine.
      await navigator.clipboard.writeText(link);
    } catch {
      await InputDialog.getText({ title: trans.__("A link to this page"), text: link, okLabel: trans.__("Close") });
      return;
    }
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return (
    <>
      <Button
        label={copied ? trans.__("Copied") : trans.__("Copy link")}
        title={trans.__("A link to this page, for you and whom this server lets in as you")}
        onClick={() => void copy()}
      />
      <span className="po-Hidden" role="status">
        {copied ? trans.__("The link is copied") : ""}
      </span>
    </>
  );
}
