/** The whole of the panel's face: how the connection stands, then a card for each run. */

import * as React from "react";
import { Card } from "./RunCard.js";
import type { Verbs } from "./RunCard.js";
import type { Link } from "../../api/events.js";
import type { State } from "../../state/reducer.js";
import type { Store } from "../../state/store.js";
import type { Run } from "../../api/types.js";
import { hasEnded } from "../../api/types.js";

interface RunsProps {
  store: Store;
  verbs: Verbs;
  retryNow: () => void;
}

export function Runs({ store, verbs, retryNow }: RunsProps): JSX.Element {
  const state = React.useSyncExternalStore(store.subscribe, store.get);
  const live = state.link.state === "live";
  const now = useNow(state.link.state === "lost" || (live && state.runs.some(run => !hasEnded(run))));
  return (
    <div className="po-Panel-content">
      <div className="po-Panel-head">
        <h2 className="po-Panel-title">Prompt runs</h2>
        <span className="po-Panel-link" data-link={state.link.state}>
          {linkWord(state)}
        </span>
      </div>
      <News runs={state.runs} />
      {state.link.state === "lost" && <Lost link={state.link} now={now} retryNow={retryNow} />}
      {state.known && !state.runs.length && <Nothing />}
      <ul className={live ? "po-Runs" : "po-Runs po-is-stale"} aria-label="Runs">
        {state.runs.map(run => (
          <Card
            key={run.id}
            run={run}
            open={!!state.expanded[run.id]}
            busy={state.busy[run.id]}
            problem={state.problems[run.id]}
            speech={state.speech[run.id]}
            now={now}
            verbs={verbs}
          />
        ))}
      </ul>
    </div>
  );
}

function linkWord(state: State): string {
  switch (state.link.state) {
    case "live": {
      const count = (word: Run["state"]): number => state.runs.filter(run => run.state === word).length;
      const [running, queued, waiting] = [count("running"), count("pending"), count("waiting")];
      const words = [
        running && `${running}${state.limit === null ? "" : ` of ${state.limit}`} running`,
        queued && `${queued} queued`,
        waiting && `${waiting} waiting`
      ];
      return ["live", ...words.filter(Boolean)].join(" · ");
    }
    case "lost":
      return "not connected";
    default:
      return "connecting…";
  }
}

function Lost({ link, now, retryNow }: { link: Link & { state: "lost" }; now: number; retryNow: () => void }): JSX.Element {
  const seconds = Math.max(0, Math.ceil((link.retryAt - now) / 1000));
  return (
    <div className="po-Lost">
      <div role="alert">
        <div>{link.problem.message}</div>
        {link.problem.hint && <div className="po-Problem-hint">{link.problem.hint}</div>}
      </div>
      <div className="po-Lost-next">
        <span>Trying again in {seconds} s</span>
        <button type="button" className="po-Button" onClick={retryNow}>
          Try now
        </button>
      </div>
    </div>
  );
}

function Nothing(): JSX.Element {
  return (
    <div className="po-Nothing">
      <p>No runs yet. Start one from a notebook cell:</p>
      <pre>{`%load_ext po_jupyter`}</pre>
      <pre>{`%%po_pipeline hello --run\ntasks:\n  - name: greet\n    prompt: Say hello.`}</pre>
      <p>
        or from a terminal with <code>po demo</code>. It appears here by itself.
      </p>
    </div>
  );
}

/** Says to a screen reader what changed, and only that: the list itself changes many times a second. */
function News({ runs }: { runs: readonly Run[] }): JSX.Element {
  const seen = React.useRef<Map<string, string> | null>(null);
  const [news, setNews] = React.useState("");
  React.useEffect(() => {
    const states = new Map(runs.map(run => [run.id, run.state]));
    const changed = runs.filter(run => seen.current && seen.current.get(run.id) !== run.state);
    seen.current = states;
    if (changed.length) {
      setNews(changed.map(run => `${run.name} is ${run.state}`).join(", "));
    }
  }, [runs]);
  return (
    <div className="po-Hidden" role="status" aria-live="polite">
      {news}
    </div>
  );
}

/** The time in ms, renewed each second while `ticking`. */
function useNow(ticking: boolean): number {
  const [now, setNow] = React.useState(Date.now);
  React.useEffect(() => {
    if (!ticking) {
      return;
    }
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [ticking]);
  return now;
}
