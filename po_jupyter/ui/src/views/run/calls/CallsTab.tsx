/** Each call to a model: a list, one in whole, and two side by side. */

import * as React from "react";
import { Button } from "../../../components/Button.js";
import { explain } from "../../../api/client.js";
import { StateBadge } from "../../../components/StateBadge.js";
import { usePage } from "../context.js";
import { Choice, Empty, Unloaded, count, dollars, seconds } from "../parts.js";
import { useOpened } from "../rows/useOpened.js";
import { usePages } from "../rows/usePages.js";
import type { Call } from "../shapes.js";
import { Table } from "../Table.js";
import type { Column } from "../Table.js";
import { CallDetail } from "./CallDetail.js";
import { asksModel, rowWord } from "../../../format/run.js";
import { mark } from "../../../format/language.js";

const COLUMNS: readonly Column<Call>[] = [
  { name: "n", label: mark("Call"), width: "4.2em", number: true, render: call => String(call.n) },
  { name: "task", label: mark("Task"), width: "minmax(7em, 2fr)", render: call => whose(call) },
  { name: "kind", label: mark("Stage"), width: "minmax(6em, 1fr)", render: call => stage(call) },
  { name: "state", label: mark("State"), width: "7em", render: call => <StateBadge state={call.state.replace("_", " ")} shown={tint(call.state)} /> },
  { name: "model", label: mark("Model"), width: "minmax(8em, 2fr)", render: call => call.model ?? "" },
  { name: "in", label: mark("In"), width: "5em", number: true, render: call => count(call.input_tokens) },
  { name: "out", label: mark("Out"), width: "5em", number: true, render: call => count(call.output_tokens) },
  { name: "cost_usd", label: mark("Cost"), width: "5.5em", number: true, render: call => dollars(call.cost_usd) },
  { name: "seconds", label: mark("Time"), width: "5em", number: true, render: call => seconds(call.seconds) },
  { name: "from", label: mark("From"), width: "5em", render: call => (call.cached ? "cache" : call.batch ? "batch" : "") }
];
/** The columns that are left when calls are open beside them. */
const ALL = new Set(COLUMNS.map(column => column.name));
const ONE_OPEN = new Set(["n", "task", "kind", "state", "seconds"]);
const TWO_OPEN = new Set(["n", "task", "state"]);
const STATES = ["done", "failed", "in_flight", "unknown", "withdrawn"];

export function CallsTab(): JSX.Element {
  const { run, source, state, patch, trans } = usePage();
  const { row, state: wanted, open, beside } = state.calls;
  const prompts = run.tasks.filter(task => asksModel(task.kind));
  const task = prompts.some(one => one.name === state.task) ? state.task : "";
  const query = { task, row, state: wanted };
  const [pages, drawn] = usePages(
    async (start, limit, signal) => {
      const page = await source.calls(query, start, limit, signal);
      return { items: page.calls, matching: page.total, total: page.total };
    },
    JSON.stringify([run.id, query]),
    run.last_event
  );
  const opened = useOpened(
    open,
    place => pages.at(place)?.n,
    n => patch({ calls: n === null ? { open: null, beside: null } : { open: n } })
  );
  const left = open === null ? ALL : beside === null ? ONE_OPEN : TWO_OPEN;
  const columns = React.useMemo(
    () => COLUMNS.filter(({ name }) => left.has(name)).map(column => ({ ...column, label: trans.__(column.label) })),
    [trans, left]
  );
  return (
    <div className="po-Rows-tab">
      <div className="po-Toolbar" role="group" aria-label={trans.__("Which calls")}>
        <Choice
          label={trans.__("Task")}
          value={task}
          options={[{ value: "", label: trans.__("all") }, ...prompts.map(one => ({ value: one.name, label: one.name }))]}
          onChange={name => patch({ task: name, calls: { row: null } })}
        />
        <Choice
          label={trans.__("State")}
          value={wanted}
          options={[{ value: "", label: trans.__("all") }, ...STATES.map(name => ({ value: name, label: name.replace("_", " ") }))]}
          onChange={name => patch({ calls: { state: name } })}
        />
        {row !== null && <Button label={trans.__("Row %1 ×", row)} title={trans.__("Show calls of all rows")} onClick={() => patch({ calls: { row: null } })} />}
        <span className="po-Toolbar-count" role="status">
          {pages.matching === null ? "" : trans._n("%2 call", "%2 calls", pages.matching, count(pages.matching))}
        </span>
      </div>
      {pages.problem !== null && (
        <Unloaded failure={explain(pages.problem)} again={pages.refresh} word={trans.__("Try again")} />
      )}
      <div className={`po-Split${open === null ? "" : " po-is-split"}${beside === null ? "" : " po-is-beside"}`}>
        {pages.matching === 0 ? (
          <Empty>{trans.__("No calls.")}</Empty>
        ) : (
          <Table
            key={JSON.stringify(query)}
            id={`po-calls-${run.id}`}
            label={trans.__("Calls")}
            columns={columns}
            count={pages.matching ?? 0}
            at={pages.at}
            open={opened.place}
            onOpen={opened.openAt}
            onRange={pages.want}
            version={drawn}
          />
        )}
        {open !== null && (
          <div className="po-Calls-open">
            {beside !== null && beside !== open && <CallDetail key={`beside ${beside}`} n={beside} side="left" />}
            <CallDetail key={open} n={open} side={beside !== null && beside !== open ? "right" : "only"} close={() => opened.openAt(-1)} />
          </div>
        )}
      </div>
    </div>
  );
}

export function whose(call: Call): string {
  return [call.task ?? "", call.row === null ? "" : rowWord(call.row)].filter(Boolean).join(" · ");
}

function stage(call: Call): string {
  return call.round ? `${call.kind} ${call.round + 1}` : call.kind;
}

/** The colour of a call's state is that of a task in the same situation. */
function tint(state: string): string {
  return { in_flight: "running", unknown: "waiting", withdrawn: "cancelled" }[state] ?? state;
}
