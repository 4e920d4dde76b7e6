/** What my calls used, by pipeline, model and day, and what today did against its limits. */

import * as React from "react";
import type { DailyUsage, DayUsage, OfLimit } from "../../api/answers.js";
import type { Api } from "../../api/client.js";
import type { Usage } from "../../api/types.js";
import { Button } from "../../components/Button.js";
import { EmptyState } from "../../components/EmptyState.js";
import { ErrorBox } from "../../components/ErrorBox.js";
import { ProgressBar } from "../../components/ProgressBar.js";
import { useTrans } from "../../components/translation.js";
import { useAnswer } from "../../components/useAnswer.js";
import { costSum, money, tokens } from "../../format/money.js";
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
      {data?.today && <Today today={data.today} />}
      {data?.hub && <OfHub hub={data.hub} />}
      {data && <Numbers usage={data} />}
    </div>
  );
}

/** "$0.40 of $2 today", with a bar for each limit that there is. */
function Today({ today }: { today: NonNullable<DailyUsage["today"]> }): JSX.Element {
  const trans = useTrans();
  const line = (of: OfLimit, shown: (amount: number) => string, label: string): JSX.Element =>
    of.limit === null ? (
      <div>{trans.__("%1 today", shown(of.used))}</div>
    ) : (
      <div className={of.used >= of.limit ? "po-is-failed" : "po-is-running"}>
        <div>{trans.__("%1 of %2 today", shown(of.used), shown(of.limit))}</div>
        <ProgressBar share={of.limit > 0 ? of.used / of.limit : 1} label={label} />
      </div>
    );
  return (
    <section aria-label={trans.__("Today")}>
      {line(today.usd, money, trans.__("Budget of the day"))}
      {today.tokens.limit !== null &&
        line(today.tokens, amount => trans.__("%1 tokens", tokens(amount)), trans.__("Tokens of the day"))}
    </section>
  );
}

/** Whose word the numbers of today are, and what keeps the hub's gateway from saying it. */
function OfHub({ hub }: { hub: NonNullable<DailyUsage["hub"]> }): JSX.Element {
  const trans = useTrans();
  return hub.problem ? (
    <div className="po-is-waiting" role="status">
      {hub.problem}
    </div>
  ) : (
    <div>{trans.__("On the hub as %1: its gateway holds you to the limits.", hub.user)}</div>
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
      {usage.by_pipeline && <ByPipeline sums={usage.by_pipeline} total={usage.total} />}
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

function ByPipeline({ sums, total }: { sums: Record<string, Sum>; total: Sum }): JSX.Element {
  const trans = useTrans();
  const rows = dearest(Object.entries(sums));
  // Runs that were deleted before their pipelines were counted are in the total alone.
  const rest = rows.reduce((calls, [, sum]) => calls - sum.calls, total.calls);
  return (
    <>
      <Table caption={trans.__("By pipeline")} first={trans.__("Pipeline")} rows={rows} total={total} />
      {rest > 0 && (
        <div className="po-Run-line">{trans._n("%1 call of deleted runs is in the sum alone", "%1 calls of deleted runs are in the sum alone", rest)}</div>
      )}
    </>
  );
}

const dearest = (sums: [string, Sum][]): [string, Sum][] =>
  sums.sort(([, a], [, b]) => (b.cost ?? Infinity) - (a.cost ?? Infinity) || b.calls - a.calls);

/** The sums of all days, the dearest model first. */
function byModel(days: readonly DayUsage[]): [string, Sum][] {
  const sums = new Map<string, Sum>();
  for (const day of days) {
    for (const [model, used] of Object.entries(day.by_model)) {
      const before = sums.get(model);
      sums.set(model, before ? added(before, used) : used);
    }
  }
  return dearest([...sums]);
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
