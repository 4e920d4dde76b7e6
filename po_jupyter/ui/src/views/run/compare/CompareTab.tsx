/** A map of this run (A) beside the same one of another run (B): what changed first, two answers side by side. */

import * as React from "react";
import { explain } from "../../../api/client.js";
import type { Run } from "../../../api/types.js";
import { Button } from "../../../components/Button.js";
import { ErrorBox } from "../../../components/ErrorBox.js";
import { StateBadge } from "../../../components/StateBadge.js";
import { shortId } from "../../../format/run.js";
import { usePage } from "../context.js";
import { JsonTree } from "../data/JsonTree.js";
import { Choice, Empty, Unloaded, count, dollars, line, seconds } from "../parts.js";
import { useResource } from "../resource.js";
import { useOpened } from "../rows/useOpened.js";
import { numbersOf } from "../rows/rowNumbers.js";
import { usePages } from "../rows/usePages.js";
import type { ComparedRow, ComparedSide, ComparisonSummary, Row } from "../shapes.js";
import { useRun } from "../useRun.js";
import { Table } from "../Table.js";
import type { Column } from "../Table.js";
import { agreement, changeWord, rowsOf, scoreLine } from "./words.js";
import { mark } from "../../../format/language.js";

const COLUMNS: readonly Column<ComparedRow>[] = [
  { name: "row", label: mark("Row"), width: "5.4em", number: true, render: pair => rowsOf(pair) },
  { name: "change", label: mark("Change"), width: "6.4em", render: pair => changeWord(pair.change) },
  { name: "input", label: mark("Input"), width: "minmax(8em, 2fr)", render: pair => line((pair.a ?? pair.b)?.input) },
  { name: "a", label: mark("Answer of A"), width: "minmax(9em, 3fr)", render: pair => <Answer row={pair.a} /> },
  { name: "b", label: mark("Answer of B"), width: "minmax(9em, 3fr)", render: pair => <Answer row={pair.b} /> },
  { name: "cost", label: mark("Cost A"), width: "5.5em", number: true, render: pair => pair.a && numbersOf(pair.a).cost },
  { name: "other", label: mark("Cost B"), width: "5.5em", number: true, render: pair => pair.b && numbersOf(pair.b).cost }
];
/** Those that are left when a pair is open beside them. */
const BESIDE = new Set(["row", "change", "a", "b"]);

/** Where only what changed is listed, no row needs to say that it did. */
function columnsOf(all: boolean, split: boolean): Column<ComparedRow>[] {
  return COLUMNS.filter(({ name }) => (all || name !== "change") && (!split || BESIDE.has(name)));
}

export function CompareTab(): JSX.Element {
  const { run, source, state, patch, trans } = usePage();
  const { run: other, all, open } = state.compare;
  const maps = run.tasks.filter(task => task.items);
  const task = maps.find(one => one.name === state.task) ?? maps[0];
  const [summary, setSummary] = React.useState<{ of: string; found: ComparisonSummary; complete: boolean } | null>(null);
  const name = task?.name ?? "";
  const about = JSON.stringify([run.id, other, name]);
  const load = async (start: number, limit: number, signal: AbortSignal) => {
    const page = await source.compare(other, name, all, start, limit, signal);
    setSummary({ of: about, found: page.summary, complete: page.complete });
    return { items: page.rows, matching: page.matching, total: page.summary.a.rows };
  };
  const [pages, drawn] = usePages(load, JSON.stringify([about, all]), `${run.last_event} ${useProgress(other)}`);
  const opened = useOpened(open, place => (pages.at(place) ? place : undefined), place => patch({ compare: { open: place } }));
  const pair = open === null ? undefined : pages.at(open);
  const columns = React.useMemo(
    () => columnsOf(all, !!pair).map(column => ({ ...column, label: trans.__(column.label) })),
    [trans, all, !pair]
  );
  const found = summary?.of === about ? summary.found : null;
  return (
    <div className="po-Rows-tab">
      {found && <Summary summary={found} />}
      {found && !summary!.complete && <Empty>{trans.__("Not all rows could be read: compare again when both runs have ended.")}</Empty>}
      <div className="po-Toolbar" role="group" aria-label={trans.__("Which rows")}>
        {maps.length > 1 && (
          <Choice
            label={trans.__("Task")}
            value={name}
            options={maps.map(map => ({ value: map.name, label: map.name }))}
            onChange={chosen => patch({ task: chosen, compare: { open: null } })}
          />
        )}
        <label className="po-Check">
          <input type="checkbox" checked={!all} onChange={event => patch({ compare: { all: !event.target.checked, open: null } })} />
          {trans.__("Changed only")}
        </label>
        <span className="po-Toolbar-count" role="status">
          {pages.matching === null ? trans.__("Comparing…") : trans._n("%2 row", "%2 rows", pages.matching, count(pages.matching))}
        </span>
        <span className="po-Verbs">
          <Button label={trans.__("Close comparison")} onClick={() => patch({ tab: "rows", compare: { run: "", open: null } })} />
        </span>
      </div>
      {pages.problem !== null && (
        <Unloaded failure={explain(pages.problem)} again={pages.refresh} word={trans.__("Try again")} />
      )}
      <div className={pair ? "po-Split po-is-split" : "po-Split"}>
        {pages.matching === 0 ? (
          <Empty>{all ? trans.__("No rows.") : trans.__("No answer changed.")}</Empty>
        ) : (
          <Table
            key={JSON.stringify([about, all])}
            id={`po-compare-${run.id}`}
            label={trans.__("Rows of %1 in two runs", name)}
            columns={columns}
            count={pages.matching ?? 0}
            at={pages.at}
            open={opened.place}
            onOpen={opened.openAt}
            onRange={pages.want}
            version={drawn}
          />
        )}
        {pair && <PairDetail pair={pair} task={name} close={() => opened.openAt(-1)} />}
      </div>
    </div>
  );
}

/** How far another run has come since it was first seen: a number that is another one with each change of it. */
function useProgress(id: string): number {
  const { source, live, visible } = usePage();
  const other = React.useMemo(() => source.beside(id), [source, id]);
  const { run } = useRun(other, live, visible);
  const first = React.useRef<Run | null>(null);
  if (first.current?.id !== run?.id) {
    first.current = run;
  }
  return run && first.current ? run.last_event - first.current.last_event : 0;
}

function Answer({ row }: { row: Row | null }): JSX.Element {
  if (!row) {
    return <span className="po-Quiet">–</span>;
  }
  return row.error ? <span className="po-Row-error">{line(row.error.message)}</span> : <>{line(row.output)}</>;
}

/** What agrees, and the two runs as two lines of numbers. */
function Summary({ summary }: { summary: ComparisonSummary }): JSX.Element {
  const { trans } = usePage();
  return (
    <section className="po-Compare-summary" aria-label={trans.__("Summary")}>
      <p className="po-Compare-verdict">{agreement(summary, trans)}</p>
      {(summary.scores ?? []).map(score => (
        <p key={score.name}>{scoreLine(score, trans)}</p>
      ))}
      <table className="po-Plain">
        <thead>
          <tr>
            <th scope="col">{trans.__("Run")}</th>
            <th scope="col">{trans.__("Model")}</th>
            {[trans.__("Rows"), trans.__("Failed"), trans.__("Tokens"), trans.__("Cost"), trans.__("Time")].map(label => (
              <th key={label} scope="col" className="po-is-number">
                {label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          <Side letter="A" side={summary.a} />
          <Side letter="B" side={summary.b} />
        </tbody>
      </table>
    </section>
  );
}

function Side({ letter, side }: { letter: string; side: ComparedSide }): JSX.Element {
  const { run, host } = usePage();
  const numbers = [count(side.rows), count(side.failed), count(side.tokens), dollars(side.cost_usd), seconds(side.seconds)];
  return (
    <tr>
      <th scope="row">
        {letter}{" "}
        {side.run === run.id ? (
          shortId(side.run)
        ) : (
          <button type="button" className="po-Link" onClick={() => host.openRun(side.run)}>
            {shortId(side.run)}
          </button>
        )}
      </th>
      <td>
        {side.models.map((model, index) => (
          <React.Fragment key={model}>
            {index > 0 && ", "}
            <span className="po-Compare-model">{model}</span>
          </React.Fragment>
        ))}
      </td>
      {numbers.map((number, index) => (
        <td key={index} className="po-is-number">
          {number}
        </td>
      ))}
    </tr>
  );
}

function PairDetail({ pair, task, close }: { pair: ComparedRow; task: string; close: () => void }): JSX.Element {
  const { state, source, trans } = usePage();
  const other = source.beside(state.compare.run);
  return (
    <section className="po-Detail" aria-label={trans.__("Row %1", rowsOf(pair))}>
      <div className="po-Detail-head">
        <h3>{trans.__("Row %1", rowsOf(pair))}</h3>
        <span className="po-Quiet">{changeWord(pair.change)}</span>
        <span className="po-Verbs">
          <Button label={trans.__("Close")} onClick={close} />
        </span>
      </div>
      <div className="po-Compare-sides">
        <WholeSide key={`a ${pair.a?.index}`} letter="A" row={pair.a} load={signal => source.row(task, pair.a!.index, signal)} />
        <WholeSide key={`b ${pair.b?.index}`} letter="B" row={pair.b} load={signal => other.row(task, pair.b!.index, signal)} />
      </div>
      <h4>{trans.__("Input")}</h4>
      <JsonTree value={(pair.a ?? pair.b)?.input} depth={3} />
      {!pair.by_input && pair.a && pair.b && (
        <>
          <h4>{trans.__("Input of B")}</h4>
          <JsonTree value={pair.b.input} depth={3} />
        </>
      )}
    </section>
  );
}

/** One answer; what a page has only the beginning of is asked for in whole. */
function WholeSide({ letter, row, load }: { letter: string; row: Row | null; load: (signal: AbortSignal) => Promise<Row> }): JSX.Element {
  const { trans } = usePage();
  const { value } = useResource<Row | null>(signal => (row?.clipped ? load(signal) : Promise.resolve(row)), `${letter} ${row?.index}`, 0);
  const shown = value ?? row;
  return (
    <div className="po-Compare-side">
      <h4>
        {letter} {shown && shown.state !== "done" && <StateBadge state={shown.state} />}
      </h4>
      {!shown && <p className="po-Quiet">{trans.__("This run has no such row.")}</p>}
      {shown?.error && <ErrorBox failure={shown.error} brief />}
      {shown && !shown.error && <JsonTree value={shown.output} depth={3} />}
      {shown && (
        <p className="po-Quiet">
          {[numbersOf(shown).cost, shown.tokens ? `${count(shown.tokens)} ${trans.__("tokens")}` : "", numbersOf(shown).seconds, shown.model ?? ""]
            .filter(Boolean)
            .join(" · ")}
        </p>
      )}
    </div>
  );
}
