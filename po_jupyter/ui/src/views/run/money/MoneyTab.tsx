/** What a run used: over time, by task and by model, against its budget. */

import * as React from "react";
import { costSum } from "../../../format/money.js";
import { usageParts } from "../../../format/run.js";
import { usePage } from "../context.js";
import { Empty, Unloaded, count } from "../parts.js";
import { useResource } from "../resource.js";
import type { Share } from "../shapes.js";
import { linesOf, seriesOf } from "./series.js";
import type { Unit } from "./series.js";

const Chart = React.lazy(() => import(/* webpackChunkName: "po-chart" */ "./Chart.js"));

export function MoneyTab(): JSX.Element {
  const { run, source, state, patch, trans } = usePage();
  const { value, problem, again } = useResource(signal => source.spending(signal), run.id, run.last_event);
  if (problem && !value) {
    return <Unloaded failure={problem} again={again} word={trans.__("Try again")} />;
  }
  if (!value) {
    return <Empty>{trans.__("Loading…")}</Empty>;
  }
  const unit: Unit = state.money.unit;
  const series = seriesOf(value, unit);
  const priced = series.used.some(used => used !== null);
  return (
    <div className="po-Money-tab">
      <div className="po-Toolbar">
        <strong className="po-Money-sum">{usageParts(run.usage, run.budget.usd).join(" · ")}</strong>
        <span className="po-Verbs" role="group" aria-label={trans.__("Unit")}>
          {(["usd", "tokens"] as const).map(name => (
            <button
              key={name}
              type="button"
              className="po-Button"
              aria-pressed={unit === name}
              onClick={() => patch({ money: { unit: name } })}
            >
              {name === "usd" ? trans.__("Dollars") : trans.__("Tokens")}
            </button>
          ))}
        </span>
      </div>
      {series.times.length > 1 && priced ? (
        <React.Suspense fallback={<Empty>{trans.__("Drawing…")}</Empty>}>
          <Chart series={series} unit={unit} label={trans.__("What the run used over time")} limitLabel={trans.__("budget")} />
        </React.Suspense>
      ) : (
        <Empty>{series.times.length > 1 ? trans.__("The price of the model is not known.") : trans.__("Nothing was used yet.")}</Empty>
      )}
      <div className="po-Money-tables">
        <Shares label={trans.__("Task")} shares={value.by_task} />
        <Shares label={trans.__("Model")} shares={value.by_model} />
      </div>
    </div>
  );
}

function Shares({ label, shares }: { label: string; shares: Record<string, Share> }): JSX.Element | null {
  const { trans } = usePage();
  const lines = linesOf(shares);
  if (!lines.length) {
    return null;
  }
  return (
    <table className="po-Plain">
      <thead>
        <tr>
          <th scope="col">{label}</th>
          <th scope="col" className="po-is-number">{trans.__("Tokens")}</th>
          <th scope="col" className="po-is-number">{trans.__("Cost")}</th>
          <th scope="col" className="po-is-number">{trans.__("Share")}</th>
        </tr>
      </thead>
      <tbody>
        {lines.map(line => (
          <tr key={line.name}>
            <th scope="row">{line.name}</th>
            <td className="po-is-number">{count(line.tokens)}</td>
            <td className="po-is-number">{costSum(line.cost_usd, line.unpriced)}</td>
            <td className="po-is-number">
              <span className="po-Share">
                <span aria-hidden="true" style={{ width: `${line.part * 100}%` }} />
              </span>
              {Math.round(line.part * 100)} %
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
