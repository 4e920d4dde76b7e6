/** Who waits for what, and the limits that are handed out. */

import * as React from "react";
import type { Waits } from "../../api/answers.js";
import type { Api } from "../../api/client.js";
import { ErrorBox } from "../../components/ErrorBox.js";
import { useTrans } from "../../components/translation.js";
import { useAnswer } from "../../components/useAnswer.js";
import { grouped } from "../../format/numbers.js";
import { duration, elapsed } from "../../format/time.js";

/** Milliseconds between two looks while somebody waits. */
const AGAIN = 5_000;

interface WaitingProps {
  api: Pick<Api, "waits">;
  open: (id: string) => void;
}

export function Waiting({ api, open }: WaitingProps): JSX.Element | null {
  const trans = useTrans();
  const { data, problem, reload } = useAnswer(() => api.waits());
  const waits = data && (data.calls.length || data.store.length || data.queue.length || data.others);
  React.useEffect(() => {
    if (!waits) {
      return;
    }
    const timer = setInterval(() => {
      if (!document.hidden) {
        reload();
      }
    }, AGAIN);
    return () => clearInterval(timer);
  }, [!!waits]);
  if (problem) {
    return <ErrorBox failure={problem} />;
  }
  if (!data) {
    return null;
  }
  return (
    <>
      <section aria-label={trans.__("Who waits")}>
        <h3 className="po-House-title">{trans.__("Who waits")}</h3>
        {!waits && <div className="po-Letter-line">{trans.__("Nobody.")}</div>}
        <WaitList waits={data} open={open} />
        {data.others > 0 && (
          <div className="po-Letter-line">
            {trans._n("%1 run of somebody else waits too", "%1 runs of other people wait too", data.others)}
          </div>
        )}
      </section>
      {data.rates && <Rates rates={data.rates} />}
    </>
  );
}

function WaitList({ waits, open }: { waits: Waits; open: (id: string) => void }): JSX.Element {
  const trans = useTrans();
  const line = (run: string, name: string, reason: string, key: string): JSX.Element => (
    <li key={`${run} ${key}`} className="po-House-entry">
      <button type="button" className="po-Link" onClick={() => open(run)}>
        {name}
      </button>
      <span className="po-Run-spent">{reason}</span>
    </li>
  );
  return (
    <ul className="po-List">
      {waits.store.map(({ run, name, reason }) => line(run, name, reason, "store"))}
      {waits.calls.map(wait =>
        line(
          wait.run,
          wait.name,
          [
            trans._n("%1 call to %2", "%1 calls to %2", wait.calls, wait.model),
            wait.reason,
            wait.seconds === null ? trans.__("for %1 so far", duration(wait.waited)) : trans.__("next in %1", elapsed(wait.seconds))
          ].join(" · "),
          wait.model
        )
      )}
      {waits.queue.map(({ run, name, position }) =>
        line(run, name, position === 1 ? trans.__("next for a worker") : trans.__("place %1 for a worker", position), "queue")
      )}
    </ul>
  );
}

/** The limits by provider or model: what all runs together may ask in a window. */
function Rates({ rates }: { rates: NonNullable<Waits["rates"]> }): JSX.Element | null {
  const trans = useTrans();
  const lines = Object.entries(rates).flatMap(([key, kinds]) => Object.entries(kinds).map(([kind, most]) => ({ key, kind, most })));
  if (!lines.length) {
    return null;
  }
  return (
    <table className="po-Table">
      <caption>{trans.__("Rate limits")}</caption>
      <tbody>
        {lines.map(({ key, kind, most }) => (
          <tr key={`${key} ${kind}`}>
            <th scope="row">{`${key} · ${kind.replace(/_/g, " ")}`}</th>
            <td>{grouped(most)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
