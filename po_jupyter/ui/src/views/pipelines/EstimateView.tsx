import * as React from "react";
import type { Estimate } from "../../api/answers.js";
import { useTrans } from "../../components/translation.js";
import { money, tokens } from "../../format/money.js";
import { grouped } from "../../format/numbers.js";

/** What a run would ask of models, task by task, and what these numbers leave out. */
export function EstimateView({ estimate }: { estimate: Estimate }): JSX.Element {
  const trans = useTrans();
  const { worst } = estimate.cost;
  const cost = worst === null ? trans.__("cost unknown") : trans.__("at most %1", money(worst));
  return (
    <section className="po-Estimate" aria-label={trans.__("Estimate")} aria-live="polite">
      <div>
        {`${estimate.unknown.length ? trans.__("at least") + " " : ""}${trans._n("%1 call", "%1 calls", estimate.calls)} · ${cost}`}
      </div>
      <table className="po-Table">
        <thead>
          <tr>
            <th scope="col">{trans.__("Task")}</th>
            <th scope="col">{trans.__("Rows")}</th>
            <th scope="col">{trans.__("Calls")}</th>
            <th scope="col">{trans.__("Tokens in")}</th>
            <th scope="col">{trans.__("At most")}</th>
          </tr>
        </thead>
        <tbody>
          {estimate.tasks.map(task => (
            <tr key={task.name}>
              <th scope="row" title={task.model ?? task.kind}>
                {task.name}
              </th>
              <td>{task.rows === null ? "" : grouped(task.rows)}</td>
              <td>{task.calls === null ? trans.__("not known") : grouped(task.calls)}</td>
              <td>{task.input_tokens === null ? "" : tokens(task.input_tokens)}</td>
              <td>{task.calls === null ? "" : task.cost.worst === null ? trans.__("unknown") : money(task.cost.worst)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {estimate.unknown.map(what => (
        <div key={what} className="po-Task-waiting">
          {trans.__("not in these numbers: %1", what)}
        </div>
      ))}
      {(estimate.warnings ?? []).map(what => (
        <div key={what} className="po-Task-waiting">
          {trans.__("before it can run: %1", what)}
        </div>
      ))}
    </section>
  );
}
