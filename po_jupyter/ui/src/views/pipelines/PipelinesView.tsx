/** The registered pipelines: what each does, what a run of it would cost, a form that starts one, and schedules. */

import * as React from "react";
import type { PipelineSummary } from "../../api/answers.js";
import type { Api } from "../../api/client.js";
import type { Run } from "../../api/types.js";
import { Button } from "../../components/Button.js";
import { EmptyState } from "../../components/EmptyState.js";
import { ErrorBox } from "../../components/ErrorBox.js";
import { useTrans } from "../../components/translation.js";
import { useAnswer } from "../../components/useAnswer.js";
import { localDay } from "../../format/time.js";
import type { KernelValues } from "./kernelValues.js";
import { SchedulesView } from "./SchedulesView.js";
import { StartForm } from "./StartForm.js";
import "../../../style/pipelines.css"; // with the view, not with the start of Lab

interface PipelinesViewProps {
  api: Api;
  values: KernelValues | null;
  started: (run: Run) => void;
}

export default function PipelinesView({ api, values, started }: PipelinesViewProps): JSX.Element {
  const trans = useTrans();
  const { data, problem, reload } = useAnswer(() => api.pipelines());
  const [open, setOpen] = React.useState("");
  if (problem) {
    return (
      <ErrorBox failure={problem}>
        <Button label={trans.__("Try again")} onClick={reload} />
      </ErrorBox>
    );
  }
  if (data && !data.length) {
    return (
      <EmptyState>
        <p>{trans.__("No pipeline is registered yet. Those of a project folder (`po init`), pipelines/*.yaml, are at every start.")}</p>
      </EmptyState>
    );
  }
  return (
    <>
      <SchedulesView api={api} started={started} />
      <ul className="po-List" aria-label={trans.__("Pipelines")}>
        {(data ?? []).map(summary => (
          <li key={summary.name} className="po-Pipeline">
            <button
              type="button"
              className="po-Run-head"
              aria-expanded={open === summary.name}
              onClick={() => setOpen(open === summary.name ? "" : summary.name)}
            >
              <span className="po-Run-name">{summary.name}</span>
              <span className="po-Run-line">{summary.version}</span>
            </button>
            <div className="po-Run-line">{about(summary, trans._n("%1 task", "%1 tasks", summary.tasks.length))}</div>
            {open === summary.name && <Detail api={api} values={values} name={summary.name} started={started} />}
          </li>
        ))}
      </ul>
    </>
  );
}

function about(summary: PipelineSummary, tasks: string): string {
  return [`${tasks}: ${summary.tasks.join(", ")}`, localDay(summary.updated_at)].join(" · ");
}

function Detail({ api, values, name, started }: PipelinesViewProps & { name: string }): JSX.Element | null {
  const { data, problem } = useAnswer(() => api.pipeline(name), name);
  if (problem) {
    return <ErrorBox failure={problem} />;
  }
  if (!data) {
    return null;
  }
  return (
    <div className="po-Pipeline-detail">
      {typeof data.description === "string" && <p>{data.description}</p>}
      <StartForm api={api} values={values} name={name} definition={data} started={started} />
    </div>
  );
}
