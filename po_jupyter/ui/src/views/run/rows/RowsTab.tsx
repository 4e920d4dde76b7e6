/** The rows of a map: a table of all of them, and one in whole beside it. */

import * as React from "react";
import { mayDo } from "../../../api/types.js";
import { Button } from "../../../components/Button.js";
import { StateBadge } from "../../../components/StateBadge.js";
import { usePage } from "../context.js";
import { Choice, Empty, Unloaded, count, line } from "../parts.js";
import { explain } from "../../../api/client.js";
import type { Row, RowQuery, Sort } from "../shapes.js";
import { Table } from "../Table.js";
import type { Column } from "../Table.js";
import { RowDetail } from "./RowDetail.js";
import { exportRows } from "./exportRows.js";
import type { RowFormat } from "./exportRows.js";
import { numbersOf } from "./rowNumbers.js";
import { scoresLine } from "./scores.js";
import { usePages } from "./usePages.js";
import { MOST, NOTHING, extended, toggled } from "./selection.js";
import type { Selection } from "./selection.js";
import { between } from "./between.js";
import { useOpened } from "./useOpened.js";
import { useVerbs } from "../verbs.js";
import { hasEnded } from "../../../api/types.js";
import { mark } from "../../../format/language.js";

const COLUMNS: readonly Column<Row>[] = [
  { name: "index", label: mark("Row"), width: "4.6em", number: true, sortable: true, render: row => String(row.index) },
  { name: "state", label: mark("State"), width: "6em", sortable: true, render: row => <StateBadge state={row.state} /> },
  { name: "input", label: mark("Input"), width: "minmax(9em, 2fr)", render: row => line(row.input) },
  {
    name: "output",
    label: mark("Answer"),
    width: "minmax(11em, 3fr)",
    sortable: true,
    render: row => (row.error ? <span className="po-Row-error">{line(row.error.message)}</span> : line(row.output))
  },
  { name: "attempts", label: mark("Tries"), width: "3.8em", number: true, sortable: true, render: row => numbersOf(row).attempts },
  { name: "tokens", label: mark("Tokens"), width: "5em", number: true, sortable: true, render: row => numbersOf(row).tokens },
  { name: "cost_usd", label: mark("Cost"), width: "5.5em", number: true, sortable: true, render: row => numbersOf(row).cost },
  { name: "seconds", label: mark("Time"), width: "5em", number: true, sortable: true, render: row => numbersOf(row).seconds }
];

const PAGE = 500;

/** Those that are left when a row is open beside them. */
const BESIDE = new Set(["index", "state", "variant", "input", "output"]);

/** What only some tasks have, by name. */
interface Names {
  readonly variants: readonly string[];
  readonly scores: readonly string[];
}

const NO_NAMES: Names = { variants: [], scores: [] };

/** The columns of a task: which variant answered is said before the answer, how good it is behind it. */
function columnsOf({ variants, scores }: Names, split: boolean): Column<Row>[] {
  const more: Record<string, Column<Row> | null> = {
    input: variants.length ? { name: "variant", label: mark("Variant"), width: "minmax(5em, 1fr)", render: row => row.variant ?? "" } : null,
    output: scores.length
      ? {
          name: "scores",
          label: scores.length === 1 ? scores[0]! : mark("Scores"),
          width: scores.length === 1 ? "5em" : "minmax(8em, 1.5fr)",
          number: scores.length === 1,
          render: row => scoresLine(row, scores)
        }
      : null
  };
  return COLUMNS.flatMap(column => [column, more[column.name] ?? []].flat()).filter(({ name }) => !split || BESIDE.has(name));
}

export function RowsTab(): JSX.Element {
  const { run, source, state, patch, trans } = usePage();
  const verbs = useVerbs();
  const maps = run.tasks.filter(task => task.items);
  const task = maps.find(one => one.name === state.task) ?? maps[0];
  const { top, open, ...asked } = state.rows;
  const query: RowQuery = { task: task?.name ?? "", ...asked };
  const [names, setNames] = React.useState({ of: "", ...NO_NAMES });
  const about = JSON.stringify([run.id, query.task]);
  const known = names.of === about ? names : NO_NAMES;
  const load = async (start: number, limit: number, signal: AbortSignal) => {
    const page = await source.rows(query, start, limit, signal);
    setNames({ of: about, variants: page.variants ?? [], scores: page.scores ?? [] });
    return { items: page.rows, matching: page.matching, total: page.total };
  };
  const key = JSON.stringify([run.id, query]);
  const [pages, drawn] = usePages(load, key, task ? run.last_event : -1);
  const opened = useOpened(open, place => pages.at(place)?.index, index => patch({ rows: { open: index } }));
  const [selection, setSelection] = React.useState(NOTHING);
  React.useEffect(() => setSelection(NOTHING), [run.id, task?.name, run.state]);
  const split = open !== null;
  const columns = React.useMemo(
    () => columnsOf(known, split).map(column => ({ ...column, label: trans.__(column.label) })),
    [trans, split, JSON.stringify(known)]
  );
  if (!task) {
    return <Empty>{trans.__("No task of this run is a map: there are no rows.")}</Empty>;
  }
  const extend = async (from: number, to: number): Promise<void> => {
    const [first, last] = [Math.min(from, to), Math.min(Math.max(from, to), Math.min(from, to) + MOST - 1)];
    const rows = await between(first, last, pages.at, start => source.rows(query, start, PAGE));
    setSelection(now => extended(now, rows));
  };
  const chosen = {
    has: (row: Row) => selection.has(row.index),
    label: (row: Row) => trans.__("Select row %1", row.index),
    title: trans.__("Selected"),
    toggle: (place: number) => {
      const row = pages.at(place);
      if (row) {
        setSelection(now => toggled(now, row));
      }
    },
    extend: (from: number, to: number) => void extend(from, to).catch(error => verbs.fail(error))
  };
  const sortBy = (name: string): void => {
    const same = name === asked.sort;
    patch({ rows: { sort: name as Sort, desc: same ? !asked.desc : name !== "index" && name !== "output", top: 0 } });
  };
  return (
    <div className="po-Rows-tab">
      <Toolbar
        query={query}
        tasks={maps.map(map => map.name)}
        variants={known.variants}
        matching={pages.matching}
        total={pages.total}
      />
      {selection.size > 0 && <Selected task={task.name} selection={selection} clear={() => setSelection(NOTHING)} />}
      {pages.problem !== null && (
        <Unloaded failure={explain(pages.problem)} again={() => pages.refresh()} word={trans.__("Try again")} />
      )}
      <div className={split ? "po-Split po-is-split" : "po-Split"}>
        {pages.matching === 0 ? (
          <Empty>{asked.q || asked.state || asked.variant ? trans.__("No row matches.") : trans.__("No row is finished yet.")}</Empty>
        ) : (
          <Table
            key={JSON.stringify([query.task, asked.state, asked.variant, asked.q, asked.sort, asked.desc])}
            id={`po-rows-${run.id}`}
            label={trans.__("Rows of %1", task.name)}
            columns={columns}
            count={pages.matching ?? 0}
            at={index => pages.at(index)}
            open={opened.place}
            onOpen={opened.openAt}
            chosen={hasEnded(run) ? chosen : undefined}
            onRange={pages.want}
            sort={asked.sort}
            desc={asked.desc}
            onSort={sortBy}
            top={top}
            onTop={index => index !== top && patch({ rows: { top: index } })}
            version={[drawn, selection]}
          />
        )}
        {split && (
          <RowDetail key={`${task.name} ${open}`} task={task.name} index={open} close={() => opened.openAt(-1)} />
        )}
      </div>
    </div>
  );
}

/** What is selected, and what can be done with it. */
function Selected({ task, selection, clear }: { task: string; selection: Selection; clear: () => void }): JSX.Element {
  const { trans, run } = usePage();
  const verbs = useVerbs();
  return (
    <div className="po-Toolbar po-Selected" role="group" aria-label={trans.__("Selected rows")}>
      <span role="status">{trans._n("%2 row selected", "%2 rows selected", selection.size, count(selection.size))}</span>
      <Button
        label={trans.__("Retry selected")}
        title={trans.__("Ask for these rows again, and for nothing else. What follows this task then runs again.")}
        doing={verbs.busy === "rows" ? trans.__("Retrying…") : null}
        disabled={verbs.busy !== null || !mayDo(run, "runs:write")}
        accent
        onClick={() => verbs.retryRows(task, selection, clear)}
      />
      <Button label={trans.__("Clear")} onClick={clear} />
    </div>
  );
}

interface ToolbarProps {
  query: RowQuery;
  tasks: string[];
  variants: readonly string[];
  matching: number | null;
  total: number | null;
}

function Toolbar({ query, tasks, variants, matching, total }: ToolbarProps): JSX.Element {
  const { patch, trans } = usePage();
  const [text, setText] = React.useState(query.q);
  // A pause in typing is a question, each letter is not.
  React.useEffect(() => {
    const timer = setTimeout(() => text !== query.q && patch({ rows: { q: text, top: 0 } }), 300);
    return () => clearTimeout(timer);
  }, [text, query.q, patch]);
  const filtered = matching !== null && total !== null && matching !== total;
  return (
    <div className="po-Toolbar" role="group" aria-label={trans.__("Which rows")}>
      {tasks.length > 1 && (
        <Choice
          label={trans.__("Task")}
          value={query.task}
          options={tasks.map(name => ({ value: name, label: name }))}
          onChange={name => patch({ task: name, rows: { variant: "", top: 0, open: null } })}
        />
      )}
      {(variants.length > 0 || query.variant) && (
        <Choice
          label={trans.__("Variant")}
          value={query.variant}
          options={["", ...new Set([...variants, query.variant].filter(Boolean))].map(name => ({ value: name, label: name || trans.__("All") }))}
          onChange={variant => patch({ rows: { variant, top: 0 } })}
        />
      )}
      <input
        className="po-Input"
        type="search"
        value={text}
        placeholder={trans.__("Search rows")}
        aria-label={trans.__("Search rows")}
        onChange={event => setText(event.target.value)}
      />
      <label className="po-Check">
        <input
          type="checkbox"
          checked={query.state === "failed"}
          onChange={event => patch({ rows: { state: event.target.checked ? "failed" : "", top: 0 } })}
        />
        {trans.__("Failed only")}
      </label>
      <span className="po-Toolbar-count" role="status">
        {matching === null
          ? ""
          : filtered
            ? trans.__("%1 of %2 rows", count(matching), count(total))
            : trans._n("%2 row", "%2 rows", matching, count(matching))}
      </span>
      <span className="po-Verbs">
        <Save format="csv" label="CSV" query={query} />
        <Save format="parquet" label="Parquet" query={query} />
      </span>
    </div>
  );
}

/** Saves the rows that match; what is under way says how many rows are here. */
function Save({ format, label, query }: { format: RowFormat; label: string; query: RowQuery }): JSX.Element {
  const { run, source, trans } = usePage();
  const verbs = useVerbs();
  const key = `rows ${format} ${query.task}`;
  const saving = verbs.saving.get(key) ?? null;
  const save = (): void =>
    verbs.save(key, async (signal, progress) => ({
      content: await exportRows(source, query, progress, signal, format),
      name: `${run.pipeline}-${query.task}.${format}`
    }));
  return (
    <Button
      label={label}
      title={trans.__("Save the rows that match as %1", label)}
      doing={saving === null ? null : trans.__("%1 rows…", count(saving))}
      disabled={saving !== null}
      onClick={save}
    />
  );
}
