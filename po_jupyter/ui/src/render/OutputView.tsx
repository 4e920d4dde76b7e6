/** A run in the output of a cell: the same card as in the panel, and of when it is where no server says it anew. */

import * as React from "react";
import { ReactWidget } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Message } from "@lumino/messaging";
import type { Api } from "../api/client.js";
import { hasEnded } from "../api/types.js";
import { runState } from "../format/run.js";
import type { IPoLive } from "../tokens.js";
import { runVerbs } from "../views/runs/actions.js";
import { Card } from "../views/runs/RunCard.js";
import type { Verbs } from "../views/runs/RunCard.js";
import { moment } from "./content.js";
import { Following } from "./following.js";
import type { OutputModel, Shown } from "./following.js";

export class OutputView extends ReactWidget {
  constructor(
    api: Api,
    private readonly live: IPoLive,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.addClass("po-Output");
    this.following = new Following(live);
    this.verbs = runVerbs(api, this.following.store.dispatch);
  }

  /** Draw an output, or what it has become. */
  draw(model: OutputModel): void {
    const kind = this.following.show(model);
    if (kind !== this.kind) {
      this.kind = kind;
      this.update();
    }
  }

  override dispose(): void {
    this.observer.disconnect();
    this.following.dispose();
    super.dispose();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this.observer.observe(this.node);
  }

  protected override onBeforeDetach(message: Message): void {
    this.observer.disconnect();
    this.following.see(false);
    super.onBeforeDetach(message);
  }

  protected override render(): JSX.Element {
    switch (this.kind) {
      case "nothing":
        return <></>;
      case "unreadable":
        return <div className="po-Output-note">{this.trans.__("This output is of no run that can be read.")}</div>;
      default:
        return (
          <Output
            following={this.following}
            verbs={this.verbs}
            retryNow={() => this.live.retryNow()}
            trans={this.trans}
          />
        );
    }
  }

  private kind: "run" | "nothing" | "unreadable" = "nothing";
  private readonly following: Following;
  private readonly verbs: Verbs;
  /** In a notebook most outputs are out of sight, and ask nothing. */
  private readonly observer = new IntersectionObserver(entries =>
    this.following.see(entries.some(entry => entry.isIntersecting))
  );
}

interface OutputProps {
  following: Following;
  verbs: Verbs;
  retryNow: () => void;
  trans: TranslationBundle;
}

function Output({ following, verbs, retryNow, trans }: OutputProps): JSX.Element {
  const shown = React.useSyncExternalStore(following.subscribe, following.get);
  const state = following.store.get();
  const { run, standing } = shown;
  const live = standing === "live";
  const now = useNow(live && !!run && !hasEnded(run));
  if (!run) {
    return <div className="po-Output-note">{note(shown, trans) ?? "…"}</div>;
  }
  const hidden = Object.entries(shown.hidden).filter(([, count]) => count > 0);
  const words = note(shown, trans);
  return (
    <div className={`po-Output-run po-is-${runState(run)}`} data-standing={standing}>
      <ul className="po-Runs">
        <Card
          run={run}
          open={state.expanded[run.id] ?? true}
          busy={state.busy[run.id]}
          problem={state.problems[run.id]}
          speech={live ? state.speech[run.id] : undefined}
          now={live ? now : shown.at}
          verbs={verbs}
        />
      </ul>
      {hidden.length > 0 && (
        <div className="po-Output-note">
          {hidden.map(([word, count]) => trans.__("%1 more %2", count, word)).join(" · ")}
        </div>
      )}
      {run.state === "done" && shown.results.length > 0 && (
        <div className="po-Output-results">
          {shown.results.map(([label, text]) => (
            <React.Fragment key={label}>
              <span className="po-Output-label">{label}</span>
              <span className="po-Output-result">{text}</span>
            </React.Fragment>
          ))}
        </div>
      )}
      {words && (
        <div className="po-Output-note" role={standing === "lost" ? "status" : undefined}>
          {words}
          {standing === "lost" && (
            <button type="button" className="po-Button" onClick={retryNow}>
              {trans.__("Try now")}
            </button>
          )}
        </div>
      )}
    </div>
  );
}

/** Of when the run is and why not of now, or null where it is of now. */
function note(shown: Shown, trans: TranslationBundle): string | null {
  const asOf = shown.run && shown.at ? trans.__("as of %1", moment(shown.at, Date.now())) : "";
  const why = {
    unseen: null,
    connecting: shown.slow ? trans.__("connecting…") : null,
    live: null,
    untrusted: trans.__("this notebook is not trusted, so the server is not asked"),
    lost: shown.problem?.message ?? "",
    missing: shown.problem?.message ?? ""
  }[shown.standing];
  return why === null ? null : [asOf, why].filter(Boolean).join(" · ") || null;
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
