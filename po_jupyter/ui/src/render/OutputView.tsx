/** A run in the output of a cell: the same card as in the panel, and of when it is where no server says it anew. */

import * as React from "react";
import { ReactWidget } from "@jupyterlab/apputils";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Message } from "@lumino/messaging";
import type { CommandRegistry } from "@lumino/commands";
import type { Api } from "../api/client.js";
import { hasEnded } from "../api/types.js";
import { keepFocus } from "../components/focus.js";
import { Translation } from "../components/translation.js";
import { useNow } from "../components/useNow.js";
import { shownRunState } from "../format/run.js";
import type { IPoLive } from "../tokens.js";
import { commandIds } from "../tokens.js";
import { RunActions } from "../views/runs/actions.js";
import type { Verbs } from "../views/runs/actions.js";
import { RunCard } from "../views/runs/RunCard.js";
import { cleaned, moment } from "./content.js";
import { Following } from "./following.js";
import type { OutputModel, Shown } from "./following.js";

export interface OutputServices {
  live: IPoLive;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

export class OutputView extends ReactWidget {
  constructor(
    api: Api,
    private readonly services: OutputServices
  ) {
    super();
    this.addClass("po-Output");
    this.following = new Following(services.live);
    this.verbs = verbsOf(api, this.following, services);
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
    this.stopKeeping();
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
        return <div className="po-Output-note">{this.services.trans.__("This output is of no run that can be read.")}</div>;
      default:
        return (
          <Translation.Provider value={this.services.trans}>
            <Output
              following={this.following}
              verbs={this.verbs}
              retryNow={() => this.services.live.retryNow()}
              trans={this.services.trans}
            />
          </Translation.Provider>
        );
    }
  }

  private kind: "run" | "nothing" | "unreadable" = "nothing";
  private readonly following: Following;
  private readonly verbs: Verbs;
  private readonly stopKeeping = keepFocus(this.node);
  /** In a notebook most outputs are out of sight, and ask nothing. */
  private readonly observer = new IntersectionObserver(entries =>
    this.following.see(entries.some(entry => entry.isIntersecting))
  );
}

/** The panel's verbs. What a gate shows is asked for once the server may be asked at all. */
function verbsOf(api: Api, following: Following, { commands, trans }: OutputServices): Verbs {
  const actions = new RunActions(api, following.store.dispatch, trans, run => {
    void commands.execute(commandIds.openRun, { run: run.id });
  });
  return {
    ...actions,
    draft: async run => {
      await following.connected;
      return cleaned(await actions.draft(run));
    }
  };
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
    <div className={`po-Output-run po-is-${shownRunState(run)}`} data-standing={standing}>
      <RunCard
        run={run}
        open={state.expanded[run.id] ?? true}
        busy={state.busy[run.id]}
        problem={state.problems[run.id]}
        speech={live ? state.speech[run.id] : undefined}
        now={live ? now : shown.at / 1000}
        verbs={verbs}
      />
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
