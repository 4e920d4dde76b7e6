/** What went into a run and what came out of it, as JSON. */

import * as React from "react";
import { Button } from "../../../components/Button.js";
import type { Task } from "../../../api/types.js";
import { usePage } from "../context.js";
import { Empty, Unloaded, count } from "../parts.js";
import { useResource } from "../resource.js";
import { JsonTree } from "./JsonTree.js";

export function DataTab(): JSX.Element {
  const { run, source, trans } = usePage();
  const seed = useResource(async signal => (await source.run(signal)).seed, run.id, 0);
  const finished = run.tasks.filter(task => task.state === "done");
  return (
    <div className="po-Data-tab">
      <section aria-label={trans.__("Seed")}>
        <h3>{trans.__("Seed")}</h3>
        {seed.problem && <Unloaded failure={seed.problem} again={seed.again} word={trans.__("Try again")} />}
        {seed.value !== undefined && <JsonTree value={seed.value?.data ?? seed.value} depth={1} />}
      </section>
      <section aria-label={trans.__("Outputs")}>
        <h3>{trans.__("Outputs")}</h3>
        {finished.map(task => (
          <Output key={task.name} task={task} first={finished.length <= 4} />
        ))}
        {!finished.length && <Empty>{trans.__("No task is done yet.")}</Empty>}
      </section>
    </div>
  );
}

/** Loaded when it is opened. A map's rows have a table of their own. */
function Output({ task, first }: { task: Task; first: boolean }): JSX.Element {
  const { patch, trans } = usePage();
  const [open, setOpen] = React.useState(first && !task.items);
  if (task.items) {
    const rows = task.items.total;
    return (
      <div className="po-Data-value">
        <span className="po-Json-name">{task.name}</span>{" "}
        <Button
          label={trans._n("%2 row", "%2 rows", rows, count(rows))}
          onClick={() => patch({ tab: "rows", task: task.name })}
        />
      </div>
    );
  }
  return (
    <details className="po-Data-value" open={open} onToggle={event => setOpen(event.currentTarget.open)}>
      <summary className="po-Json-name">{task.name}</summary>
      {open && <Loaded task={task} />}
    </details>
  );
}

function Loaded({ task }: { task: Task }): JSX.Element {
  const { run, source, trans } = usePage();
  const { value, problem, again } = useResource(
    async signal => ({ output: await source.output(task.name, signal) }),
    `${run.id} ${task.name}`,
    task.ended_at ?? ""
  );
  if (problem) {
    return <Unloaded failure={problem} again={again} word={trans.__("Try again")} />;
  }
  return value ? <JsonTree value={value.output} depth={2} /> : <p className="po-Quiet">…</p>;
}
