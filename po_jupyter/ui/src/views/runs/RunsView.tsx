/** The runs: what needs a person on top, then what goes on, then the history by day. */

import * as React from "react";
import type { TranslationBundle } from "@jupyterlab/translation";
import type { Run } from "../../api/types.js";
import { Button } from "../../components/Button.js";
import { EmptyState } from "../../components/EmptyState.js";
import { ErrorBox } from "../../components/ErrorBox.js";
import { useTrans } from "../../components/translation.js";
import { useNow } from "../../components/useNow.js";
import { VirtualList } from "../../components/VirtualList.js";
import { grouped } from "../../format/numbers.js";
import { localDay } from "../../format/time.js";
import type { Filters } from "../../state/filters.js";
import { isFiltered } from "../../state/filters.js";
import type { State } from "../../state/reducer.js";
import type { Entry } from "../../state/selectors.js";
import { pipelineNames, sections } from "../../state/selectors.js";
import type { Verbs } from "./actions.js";
import { FilterBar } from "./FilterBar.js";
import { RunCard } from "./RunCard.js";

/** Runs that need a person and are shown without being asked for. */
const FEW = 5;
/** What a closed card of an ended run is high (px), about. */
const CARD = 78;

interface RunsViewProps {
  state: State;
  verbs: Verbs;
  scroller: React.RefObject<HTMLElement>;
  older: () => void;
  filter: (filters: Filters) => void;
}

export function RunsView({ state, verbs, scroller, older, filter }: RunsViewProps): JSX.Element {
  const trans = useTrans();
  const { runs, order, filters, dismissed, history } = state;
  // The list is made again only when what it is made of changes, not with each streamed word.
  const { attention, active, list } = React.useMemo(() => sections(state), [runs, order, filters, dismissed, history]);
  const pipelines = React.useMemo(() => pipelineNames(state), [order]);
  const now = useNow(state.link.state === "live" && (active.length > 0 || attention.length > 0));
  const card = (run: Run, canDismiss = false): JSX.Element => (
    <RunCard
      key={run.id}
      run={run}
      open={!!state.expanded[run.id]}
      busy={state.busy[run.id]}
      problem={state.problems[run.id]}
      speech={state.speech[run.id]}
      now={now}
      verbs={verbs}
      canDismiss={canDismiss}
    />
  );
  const isEmpty = state.known && !order.length && !isFiltered(filters) && history.next === null;
  return (
    <div className={state.link.state === "live" ? "po-Runs" : "po-Runs po-is-stale"}>
      <Attention runs={attention} more={state.moreAttention} card={card} />
      {!isEmpty && <FilterBar filters={filters} pipelines={pipelines} onChange={filter} />}
      {isEmpty && <Nothing />}
      {active.length > 0 && (
        <section className="po-Section" aria-label={trans.__("Running")}>
          <h3 className="po-Section-title">{trans.__("Running")}</h3>
          <ul className="po-List">
            {active.map(run => (
              <li key={run.id}>{card(run)}</li>
            ))}
          </ul>
        </section>
      )}
      <section className="po-Section" aria-label={isFiltered(filters) ? trans.__("Found") : trans.__("History")}>
        <VirtualList
          items={list}
          itemKey={entryKey}
          estimate={CARD}
          label={trans.__("Runs")}
          scroller={scroller}
          onEnd={older}
          render={({ run, day }) => (
            <>
              {day && <h3 className="po-Section-title">{dayName(day, trans)}</h3>}
              {card(run)}
            </>
          )}
        />
        <ListEnd state={state} found={list.length} older={older} />
      </section>
    </div>
  );
}

const entryKey = (entry: Entry): string => entry.run.id;

/** "Today", "Yesterday", else the day as the reader's language writes it. */
function dayName(day: string, trans: TranslationBundle): string {
  const today = new Date();
  if (day === localDay(today.toISOString())) {
    return trans.__("Today");
  }
  today.setDate(today.getDate() - 1);
  if (day === localDay(today.toISOString())) {
    return trans.__("Yesterday");
  }
  const [year, month, date] = day.split("-").map(Number);
  const options: Intl.DateTimeFormatOptions = { weekday: "long", day: "numeric", month: "long" };
  if (year !== new Date().getFullYear()) {
    options.year = "numeric";
  }
  return new Date(year!, month! - 1, date).toLocaleDateString(document.documentElement.lang || undefined, options);
}

interface AttentionProps {
  runs: readonly Run[];
  /** Older ones that are not listed. */
  more: number;
  card: (run: Run, canDismiss: boolean) => JSX.Element;
}

function Attention({ runs, more, card }: AttentionProps): JSX.Element | null {
  const trans = useTrans();
  const [all, setAll] = React.useState(false);
  if (!runs.length) {
    return null;
  }
  const shown = all ? runs : runs.slice(0, FEW);
  return (
    <section className="po-Section po-Attention" aria-label={trans.__("Needs you")}>
      <h3 className="po-Section-title">
        {trans.__("Needs you")} <span className="po-Count">{grouped(runs.length + more)}</span>
      </h3>
      <ul className="po-List">
        {shown.map(run => (
          <li key={run.id}>{card(run, true)}</li>
        ))}
      </ul>
      {more > 0 && (all || runs.length <= FEW) && (
        <div className="po-Section-end">
          {trans._n("%1 older one is found by its state, with the filter", "%1 older ones are found by their state, with the filter", more)}
        </div>
      )}
      {runs.length > FEW && (
        <div className="po-Section-end">
          <Button
            label={all ? trans.__("Show fewer") : trans.__("Show all %1", runs.length)}
            onClick={() => setAll(!all)}
          />
        </div>
      )}
    </section>
  );
}

/** What stands below the last run: that more comes, that more can come, or that this was all. */
function ListEnd({ state, found, older }: { state: State; found: number; older: () => void }): JSX.Element | null {
  const trans = useTrans();
  const { history, filters, known } = state;
  if (history.problem) {
    return (
      <ErrorBox failure={history.problem}>
        <Button label={trans.__("Try again")} onClick={older} />
      </ErrorBox>
    );
  }
  if (history.loading || !known) {
    return <div className="po-Section-end">{trans.__("Loading…")}</div>;
  }
  if (history.next) {
    return (
      <div className="po-Section-end">
        <Button label={trans.__("Load older")} onClick={older} />
      </div>
    );
  }
  return !found && isFiltered(filters) ? <EmptyState>{trans.__("No run is like this.")}</EmptyState> : null;
}

function Nothing(): JSX.Element {
  const trans = useTrans();
  return (
    <EmptyState>
      <p>{trans.__("No runs yet. Start one from a notebook cell:")}</p>
      <pre>{`%load_ext po_jupyter`}</pre>
      <pre>{`%%po_pipeline hello --run\ntasks:\n  - name: greet\n    prompt: Say hello.`}</pre>
      <p>{trans.__("or from a terminal with `po demo`. It appears here by itself.")}</p>
    </EmptyState>
  );
}
