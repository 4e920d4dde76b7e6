/** What my calls used, by day and by model. */

import * as React from "react";
import type { DailyUsage, DayUsage } from "../../api/answers.js";
import type { Api } from "../../api/client.js";
import type { Usage } from "../../api/types.js";
import { Button } from "../../components/Button.js";
import { EmptyState } from "../../components/EmptyState.js";
import { ErrorBox } from "../../components/ErrorBox.js";
import { useTrans } from "../../components/translation.js";
import { useAnswer } from "../../components/useAnswer.js";
import { costSum, tokens } from "../../format/money.js";
import { grouped } from "../../format/numbers.js";

type Sum = Usage & { unpriced: number };
const SPANS = [7, 30, 90] as const;

export default function UsageView({ api }: { api: Api }): JSX.Element {
  const trans = useTrans();
  const [days, setDays] = React.useState<number>(30);
  const { data, problem, reload } = useAnswer(() => api.usage(days), String(days));
  return (
    <div className="po-Usage">
      <label className="po-Usage-span">
        <span>{trans.__("The last")}</span>
        <select className="po-Input" value={days} onChange={event => setDays(Number(event.target.value))}>
          {SPANS.map(span => (
            <option key={span} value={span}>
              {trans.__("%1 days", span)}
            </option>
          ))}
        </select>
      </label>
      {problem && (
        <ErrorBox failure={problem}>
          <Button label={trans.__("Try again")} onClick={reload} />
        </ErrorBox>
      )}
      {data && <Numbers usage={data} />}
    </div>
  );
}

function Numbers({ usage }: { usage: DailyUsage }): JSX.Element {
  const trans = useTrans();
  const days = usage.days.filter(day => day.calls || day.cached_calls);
  if (!days.length) {
    return <EmptyState>{trans.__("No model was called in these days.")}</EmptyState>;
  }
  return (
    <>
      <Table caption={trans.__("By model")} first={trans.__("Model")} rows={[...byModel(days)]} total={usage.total} />
      <Table
        caption={trans.__("By day (UTC)")}
        first={trans.__("Day")}
        rows={[...days].reverse().map(day => [day.day, day])}
        total={usage.total}
      />
    </>
  );
}

/** The sums of all days, the dearest model first. */
function byModel(days: readonly DayUsage[]): [string, Sum][] {
  const sums = new Map<string, Sum>();
  for (const day of days) {
    for (const [model, used] of Object.entries(day.by_model)) {
      const before = sums.get(model);
      sums.set(model, before ? added(before, used) : used);
    }
  }
  return [...sums].sort(([, a], [, b]) => (b.cost ?? Infinity) - (a.cost ?? Infinity) || b.calls - a.calls);
}

function added(a: Sum, b: Sum): Sum {
  return {
    ...a,
    input_tokens: a.input_tokens + b.input_tokens,
    output_tokens: a.output_tokens + b.output_tokens,
    calls: a.calls + b.calls,
    unknown: a.unknown + b.unknown,
    unpriced: a.unpriced + b.unpriced,
    cost: a.cost === null || b.cost === null ? null : a.cost + b.cost
  };
}

interface TableProps {
  caption: string;
  first: string;
  rows: [string, Sum][];
  total: Sum;
}

function Table({ caption, first, rows, total }: TableProps): JSX.Element {
  const trans = useTrans();
  const line = (name: string, sum: Sum): JSX.Element => (
    <tr key={name}>
      <th scope="row">{name}</th>
      <td>{grouped(sum.calls)}</td>
      <td>{tokens(sum.input_tokens + sum.output_tokens)}</td>
      <td>{costSum(sum.cost, sum.unpriced, sum.unknown)}</td>
    </tr>
  );
  return (
    <table className="po-Table">
      <caption>{caption}</caption>
      <thead>
        <tr>
          <th scope="col">{first}</th>
          <th scope="col">{trans.__("Calls")}</th>
          <th scope="col">{trans.__("Tokens")}</th>
          <th scope="col">{trans.__("Cost")}</th>
        </tr>
      </thead>
      <tbody>{rows.map(([name, sum]) => line(name, sum))}</tbody>
      <tfoot>{line(trans.__("all"), total)}</tfoot>
    </table>
  );
}
