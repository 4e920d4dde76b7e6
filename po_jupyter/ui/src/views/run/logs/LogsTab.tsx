/** What the stages printed, and the errors with the person's own lines; followed while the run goes on. */

import * as React from "react";
import { hasEnded } from "../../../api/types.js";
import { ErrorBox } from "../../../components/ErrorBox.js";
import { bytes } from "../../../format/money.js";
import { usePage } from "../context.js";
import { Choice, Empty, Unloaded } from "../parts.js";
import { useResource } from "../resource.js";
import type { StageLog } from "../shapes.js";

/** Seconds between two looks at logs that are followed. */
const LOOK = 2;

/** What a stage had before it when it failed, and what the worker wrote for itself: seldom looked at. */
function isRare(log: StageLog): boolean {
  return !log.task || log.name.endsWith(".context.json");
}

function nameOf(log: StageLog): string {
  return log.task ? `${log.task} · ${log.name.replace(/\.log$/, "")}` : log.name;
}

export function LogsTab(): JSX.Element {
  const { run, source, state, patch, trans, now } = usePage();
  const follows = state.logs.follow && !hasEnded(run);
  const task = run.tasks.some(one => one.name === state.task) ? state.task : "";
  // What a stage prints is no event of the run: while it is followed it is asked for again and again.
  const version = follows ? `${run.last_event} ${Math.floor(now / LOOK)}` : run.last_event;
  const { value, problem, again } = useResource(signal => source.logs(task, signal), `${run.id} ${task}`, version);
  const failed = run.tasks.filter(one => one.error && (!task || one.name === task));
  const logs = value?.filter(log => log.text);
  return (
    <div className="po-Logs-tab">
      <div className="po-Toolbar" role="group" aria-label={trans.__("Which logs")}>
        <Choice
          label={trans.__("Task")}
          value={task}
          options={[{ value: "", label: trans.__("all") }, ...run.tasks.map(one => ({ value: one.name, label: one.name }))]}
          onChange={name => patch({ task: name })}
        />
        {!hasEnded(run) && (
          <label className="po-Check">
            <input
              type="checkbox"
              checked={state.logs.follow}
              onChange={event => patch({ logs: { follow: event.target.checked } })}
            />
            {trans.__("Follow")}
          </label>
        )}
      </div>
      {problem && <Unloaded failure={problem} again={again} word={trans.__("Try again")} />}
      {failed.map(one => (
        <section key={one.name} aria-label={trans.__("Error of %1", one.name)}>
          <h3>{trans.__("%1 failed", one.name)}</h3>
          <ErrorBox failure={one.error!} />
        </section>
      ))}
      {logs?.map(log =>
        isRare(log) ? (
          <details key={`${log.task} ${log.name}`} className="po-Logs-context">
            <summary>{nameOf(log)}</summary>
            <Log log={log} follow={false} />
          </details>
        ) : (
          <Log key={`${log.task} ${log.name}`} log={log} follow={follows} />
        )
      )}
      {logs && !logs.length && !failed.length && <Empty>{trans.__("Nothing was printed.")}</Empty>}
    </div>
  );
}

function Log({ log, follow }: { log: StageLog; follow: boolean }): JSX.Element {
  const { trans } = usePage();
  const box = React.useRef<HTMLPreElement>(null);
  const end = React.useRef(true);
  // It goes on at the end as long as the end is in sight: who reads further up is left alone.
  React.useLayoutEffect(() => {
    if (box.current && follow && end.current) {
      box.current.scrollTop = box.current.scrollHeight;
    }
  }, [log.text, follow]);
  const name = nameOf(log);
  return (
    <section aria-label={name} data-log={name}>
      <h3>
        {name} <span className="po-Quiet">{bytes(log.bytes)}</span>
      </h3>
      {log.cut && <p className="po-Quiet">{trans.__("Only the end of it.")}</p>}
      <pre
        ref={box}
        className="po-Log"
        tabIndex={0}
        aria-label={name}
        role="log"
        aria-live="off"
        onScroll={event => {
          const { scrollTop, clientHeight, scrollHeight } = event.currentTarget;
          end.current = scrollTop + clientHeight > scrollHeight - 20;
        }}
      >
        {log.text}
      </pre>
    </section>
  );
}
