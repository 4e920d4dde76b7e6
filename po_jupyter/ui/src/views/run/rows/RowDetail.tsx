/** One row of a map in whole. */

import * as React from "react";
import { Button } from "../../../components/Button.js";
import { ErrorBox } from "../../../components/ErrorBox.js";
import { StateBadge } from "../../../components/StateBadge.js";
import { usePage } from "../context.js";
import { JsonTree } from "../data/JsonTree.js";
import { Unloaded } from "../parts.js";
import { useResource } from "../resource.js";
import type { Row } from "../shapes.js";
import { numbersOf } from "./rowNumbers.js";
import { entriesOf, scoreText } from "./scores.js";

export function RowDetail({ task, index, close }: { task: string; index: number; close: () => void }): JSX.Element {
  const { run, source, patch, trans } = usePage();
  const { value: row, problem, again } = useResource(
    signal => source.row(task, index, signal),
    `${run.id} ${task} ${index}`,
    run.last_event
  );
  const numbers = row && numbersOf(row);
  const facts = numbers && [
    row.variant ?? "",
    numbers.attempts && `${numbers.attempts} ${trans._n("try", "tries", row.attempts)}`,
    row.tokens ? `${numbers.tokens} ${trans.__("tokens")}` : "",
    numbers.cost,
    numbers.seconds,
    row.model ?? "",
    ...(row.flags ?? [])
  ];
  return (
    <section className="po-Detail" aria-label={trans.__("Row %1", index)} data-row={index}>
      <div className="po-Detail-head">
        <h3>{trans.__("Row %1", index)}</h3>
        {row && <StateBadge state={row.state} />}
        <span className="po-Verbs">
          <Button
            label={trans.__("Calls")}
            onClick={() => patch({ tab: "calls", task, calls: { row: index, open: null } })}
          />
          <Button label={trans.__("Close")} onClick={close} />
        </span>
      </div>
      {problem && !row && <Unloaded failure={problem} again={again} word={trans.__("Try again")} />}
      {row && (
        <>
          <p className="po-Quiet">{facts?.filter(Boolean).join(" · ")}</p>
          {row.error && <ErrorBox failure={row.error} />}
          {row.output !== null && row.output !== undefined && (
            <>
              <h4>{trans.__("Answer")}</h4>
              <JsonTree value={row.output} depth={3} />
            </>
          )}
          {(row.scores || row.state === "failed") && <Expected task={task} index={index} />}
          {row.scores && <Scores scores={row.scores} />}
          <h4>{trans.__("Input")}</h4>
          <JsonTree value={row.input} depth={3} />
        </>
      )}
    </section>
  );
}

/** What was expected of a row, also of one that failed; nothing where nothing scores it. */
function Expected({ task, index }: { task: string; index: number }): JSX.Element {
  const { run, source, trans } = usePage();
  const { value: expected } = useResource(signal => source.expected(task, index, signal), `${run.id} ${task} ${index}`, 0);
  const several = (expected?.length ?? 0) > 1;
  return (
    <>
      {(expected ?? []).map(({ scores, value, problem }) => (
        <React.Fragment key={scores.join()}>
          <h4>{several ? trans.__("Expected by %1", scores.join(", ")) : trans.__("Expected")}</h4>
          {problem ? <p className="po-Quiet">{problem}</p> : <JsonTree value={value} depth={3} />}
        </React.Fragment>
      ))}
    </>
  );
}

/** How good the answer is. */
function Scores({ scores }: { scores: NonNullable<Row["scores"]> }): JSX.Element {
  const { trans } = usePage();
  return (
    <>
      <h4>{trans.__("Scores")}</h4>
      <table className="po-Plain">
        <tbody>
          {entriesOf(scores).map(([name, value, note]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td className="po-is-number">{scoreText(value)}</td>
              <td className="po-Quiet">{note}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </>
  );
}
