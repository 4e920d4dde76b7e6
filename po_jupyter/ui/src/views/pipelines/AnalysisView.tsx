import type { TranslationBundle } from "@jupyterlab/translation";
import * as React from "react";
import type { Analysis, TaskAnalysis } from "../../api/answers.js";
import { useTrans } from "../../components/translation.js";

/** What a pipeline does and leaves, task by task, and what its seed looks like: before anything is paid. */
export function AnalysisView({ analysis }: { analysis: Analysis }): JSX.Element {
  const trans = useTrans();
  return (
    <section className="po-Analysis" aria-label={trans.__("What it does")}>
      <dl>
        {analysis.tasks.map(task => (
          <React.Fragment key={task.name}>
            <dt>{task.name}</dt>
            <dd>
              <TaskLines task={task} />
            </dd>
          </React.Fragment>
        ))}
        {analysis.seed && (
          <>
            <dt className="po-Analysis-seed">{trans.__("seed")}</dt>
            <dd>
              <code>{analysis.seed.shape}</code>
            </dd>
          </>
        )}
      </dl>
    </section>
  );
}

function kindName(kind: TaskAnalysis["kind"], trans: TranslationBundle): string {
  switch (kind) {
    case "python":
      return trans.__("Python");
    case "embed":
      return trans.__("embedding");
    case "operator":
      return trans.__("operator");
    case "pipeline":
      return trans.__("pipeline");
    default:
      return trans.__("prompt");
  }
}

function TaskLines({ task }: { task: TaskAnalysis }): JSX.Element {
  const trans = useTrans();
  const facts = [
    kindName(task.kind, trans),
    task.for_each && trans.__("for each of %1", task.for_each.replace(/^\s*\{\{\s*|\s*\}\}\s*$/g, "")),
    task.tools.length && trans._n("%1 tool", "%1 tools", task.tools.length),
    task.gate && trans.__("waits for you")
  ].filter(Boolean);
  return (
    <>
      <div>{facts.join(" · ")}</div>
      <div className="po-Analysis-stages">
        {task.stages === null ? trans.__("its stages are known when it runs") : task.stages.join(" → ")}
      </div>
      {task.shape && <code title={trans.__("What it leaves")}>{`→ ${task.shape}`}</code>}
      {task.artifacts.map(name => (
        <code key={name} title={trans.__("A file that it writes")}>{`→ ${name}`}</code>
      ))}
    </>
  );
}
