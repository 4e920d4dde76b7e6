/** How a run stands, why it waits, and what can be done to it. */

import * as React from "react";
import * as format from "../../format/run.js";
import { hasEnded } from "../../api/types.js";
import type { Run } from "../../api/types.js";
import { usePage } from "./context.js";
import { eta, etaText } from "./eta.js";
import { Problem, State, Verb } from "./parts.js";
import { useVerbs } from "./verbs.js";

export function Header(): JSX.Element {
  const { run, now, trans } = usePage();
  const verbs = useVerbs();
  return (
    <section className="po-Header" aria-label={trans.__("Run")}>
      <div className="po-Header-top">
        <h2 title={run.id}>{run.name}</h2>
        <State state={format.runState(run)} word={run.state} />
        <span className="po-Verbs">
          {verbs.deeds.map((deed, index) => (
            <Verb
              key={deed.label}
              label={deed.label}
              title={deed.title}
              busy={verbs.busy}
              accent={index === 0 && deed === verbs.retryFailed}
              onClick={deed.act}
            />
          ))}
          <CopyLink />
        </span>
      </div>
      <p className="po-Header-line">{facts(run, now).join(" · ")}</p>
      {!hasEnded(run) && run.state !== "pending" && <Progress run={run} />}
      <Forked run={run} />
      {waits(run).map(([task, reason]) => (
        <p key={task} className="po-Waiting">
          {task ? trans.__("%1 waits: %2", task, reason) : reason}
        </p>
      ))}
      {run.error && <Problem failure={run.error} />}
      {verbs.problem && (
        <div role="alert">
          <Problem failure={verbs.problem} />
        </div>
      )}
      {run.state === "waiting" && run.gate && !run.gate.decision && <Gate />}
      <p className="po-Hidden" role="status">
        {trans.__("%1 is %2", run.name, run.state)}
      </p>
    </section>
  );
}

function facts(run: Run, now: number): string[] {
  const parts = [`${run.pipeline === run.name ? "" : `${run.pipeline} `}${run.version}`, `run ${format.shortId(run.id)}`];
  parts.push(format.place(run));
  if (run.state === "pending") {
    parts.push(run.position ? `place ${run.position} in the queue` : "starting");
  } else {
    const seconds = format.elapsed(run, now);
    parts.push(hasEnded(run) ? format.duration(seconds) : format.clock(seconds));
  }
  const left = eta(run, now);
  if (left) {
    const whole = run.tasks.filter(task => !task.ended_at).length === 1;
    parts.push(`${etaText(left)} left${whole ? "" : ` for ${left.task}`}`);
  }
  parts.push(format.spent(run));
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
  const share = format.progress(run);
  const percent = share >= 1 ? 100 : Math.floor(share * 100);
  return (
    <div className={`po-Bar po-is-${format.runState(run)}`}>
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
        {trans.__("Forked from run %1, from %2 on", format.shortId(from), run.forked_from?.from_task ?? "")}
      </button>
    </p>
  );
}

function CopyLink(): JSX.Element {
  const { host, state, trans } = usePage();
  const [copied, setCopied] = React.useState(false);
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(host.link(state));
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return (
    <>
      <Verb
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

function Gate(): JSX.Element {
  const { run, host, trans } = usePage();
  const verbs = useVerbs();
  const [note, setNote] = React.useState("");
  const gate = run.gate!;
  return (
    <section className="po-Gate" aria-label={trans.__("Gate of %1", run.name)}>
      <div className="po-Gate-message">
        {gate.task ? trans.__("%1 waits for you", gate.task) : trans.__("This run waits for you")}
        {gate.message ? `: ${gate.message}` : "."}
      </div>
      {!!gate.artifacts?.length && (
        <div className="po-Verbs">
          {gate.artifacts.map(name => (
            <button key={name} type="button" className="po-Link" onClick={() => host.openFile(run.id, name)}>
              {name}
            </button>
          ))}
        </div>
      )}
      <input
        className="po-Input"
        type="text"
        value={note}
        placeholder={trans.__("Note (optional)")}
        aria-label={trans.__("Note for the decision")}
        onChange={event => setNote(event.target.value)}
      />
      <div className="po-Verbs">
        <Verb label={trans.__("Approve")} accent busy={verbs.busy} onClick={() => verbs.decide("approve", note.trim())} />
        <Verb
          label={trans.__("Reject")}
          title={trans.__("End this run here. It can be resumed.")}
          busy={verbs.busy}
          onClick={() => verbs.decide("reject", note.trim())}
        />
      </div>
    </section>
  );
}
