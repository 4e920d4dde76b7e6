import * as React from "react";
import type { Task } from "../../api/types.js";
import { ErrorBox } from "../../components/ErrorBox.js";
import { GrowingText } from "../../components/GrowingText.js";
import { ProgressBar } from "../../components/ProgressBar.js";
import { useTrans } from "../../components/translation.js";
import { rowWord, shownTaskState, taskLine } from "../../format/run.js";
import type { Speech } from "../../state/reducer.js";

interface TaskRowProps {
  task: Task;
  /** Seconds since 1970; of an ended run its end, since a task that was cut off has none of its own. */
  now: number;
  speech: Speech | undefined;
}

/** One task of a run: its sign, its name, how it stands, and what it says. */
export function TaskRow({ task, now, speech }: TaskRowProps): JSX.Element {
  const trans = useTrans();
  const line = taskLine(task, now);
  return (
    <li className={`po-Task po-is-${shownTaskState(task)}`} data-task={task.name} data-state={task.state}>
      <span className="po-Task-glyph" aria-hidden="true">
        {line.icon}
      </span>
      <div className="po-Task-body">
        <div className="po-Task-title">
          <span className="po-Task-name">{line.name}</span>
          <span className="po-Task-stand">{line.doing}</span>
        </div>
        {line.details.length > 0 && <div className="po-Task-detail">{line.details.join(" · ")}</div>}
        {line.progress !== null && <ProgressBar share={line.progress} label={trans.__("Rows of %1", task.name)} />}
        {line.note && <div className="po-Task-waiting">{line.note}</div>}
        {line.learned && <div className="po-Task-detail">{line.learned}</div>}
        {task.error && <ErrorBox failure={task.error} />}
        {speech && task.state === "running" && (
          <div className="po-Speech" tabIndex={0} aria-label={trans.__("What the model says to %1", task.name)}>
            <div>
              {speech.item !== null && <span className="po-Speech-row">{`${rowWord(speech.item)} │ `}</span>}
              <GrowingText text={speech.text} />
            </div>
          </div>
        )}
      </div>
    </li>
  );
}
