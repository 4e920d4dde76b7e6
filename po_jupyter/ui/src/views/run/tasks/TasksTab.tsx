/** The tasks of a run: their graph, what the chosen one is at, and when each of them ran. */

import * as React from "react";
import { Button } from "../../../components/Button.js";
import { ErrorBox } from "../../../components/ErrorBox.js";
import { StateBadge } from "../../../components/StateBadge.js";
import { asksModel, learnedThreshold, rowCounts, shownTaskState } from "../../../format/run.js";
import { elapsed } from "../../../format/time.js";
import type { Task } from "../../../api/types.js";
import { usePage } from "../context.js";
import { Empty, Unloaded, count, dollars, taskSeconds } from "../parts.js";
import type { Tab } from "../pageState.js";
import { useResource } from "../resource.js";
import { Timeline } from "./Timeline.js";

const Graph = React.lazy(() => import(/* webpackChunkName: "po-graph" */ "./Graph.js"));
/** Below this width of the page the graph goes from top to bottom. */
const NARROW = 720;

export function TasksTab(): JSX.Element {
  const { run, source, state, patch, trans } = usePage();
  const spans = useResource(signal => source.timeline(signal), run.id, run.last_event);
  const shape = useResource(signal => source.pipeline(signal), run.id, run.tasks.length);
  const [box, width] = useWidth();
  const chosen = run.tasks.find(task => task.name === state.task) ?? run.tasks.find(isOfInterest) ?? run.tasks[0];
  const choose = (task: string): void => patch({ task });
  return (
    <div className="po-Tasks-tab" ref={box}>
      <div className="po-Graph">
        {shape.value ? (
          <React.Suspense fallback={<Empty>{trans.__("Drawing…")}</Empty>}>
            <Graph needs={shape.value.needs} chosen={chosen?.name ?? ""} choose={choose} down={width < NARROW} width={width} />
          </React.Suspense>
        ) : (
          shape.problem && <Unloaded failure={shape.problem} again={shape.again} word={trans.__("Try again")} />
        )}
      </div>
      {chosen && <TaskDetail task={chosen} />}
      <div className="po-Tasks-when">
        {spans.problem && !spans.value ? (
          <Unloaded failure={spans.problem} again={spans.again} word={trans.__("Try again")} />
        ) : spans.value?.length ? (
          <Timeline spans={spans.value} chosen={chosen?.name ?? ""} choose={choose} />
        ) : (
          spans.value && <Empty>{trans.__("Nothing has started yet.")}</Empty>
        )}
      </div>
    </div>
  );
}

function isOfInterest(task: Task): boolean {
  return task.state === "running" || task.state === "failed";
}

function TaskDetail({ task }: { task: Task }): JSX.Element {
  const { run, now, patch, speech, trans } = usePage();
  const seconds = task.state === "pending" ? null : taskSeconds(run, task, now);
  const calls = task.usage.calls + (task.usage.cached_calls ?? 0); // as many as the list of calls has
  const go = (tab: Tab): void => patch({ tab, task: task.name });
  return (
    <section className="po-Detail" aria-label={trans.__("Task %1", task.name)} data-task={task.name}>
      <div className="po-Detail-head">
        <h3>{task.name}</h3>
        <StateBadge state={task.state} shown={shownTaskState(task)} />
      </div>
      <dl className="po-Facts">
        <Fact name={trans.__("kind")}>{task.kind}</Fact>
        {task.stage && task.state === "running" && <Fact name={trans.__("stage")}>{task.stage}</Fact>}
        {task.attempt > 1 && <Fact name={trans.__("attempt")}>{task.attempt}</Fact>}
        {task.items && <Fact name={trans.__("rows")}>{rowCounts(task.items, task.state === "running").replace(/ rows/, "")}</Fact>}
        {seconds !== null && <Fact name={trans.__("time")}>{elapsed(seconds)}</Fact>}
        {calls > 0 && <Fact name={trans.__("calls")}>{count(calls)}</Fact>}
        {task.usage.calls > 0 && (
          <Fact name={trans.__("tokens")}>{count(task.usage.input_tokens + task.usage.output_tokens)}</Fact>
        )}
        {task.usage.calls > 0 && <Fact name={trans.__("cost")}>{dollars(task.usage.cost) || trans.__("unknown")}</Fact>}
      </dl>
      {task.waiting && task.state === "running" && <p className="po-Waiting">{task.waiting}</p>}
      {task.reason && task.state === "skipped" && <p className="po-Waiting">{trans.__("skipped: %1", task.reason)}</p>}
      {task.cascade && <p className="po-Quiet">{learnedThreshold(task)}</p>}
      {task.error && <ErrorBox failure={task.error} />}
      {speech?.task === task.name && task.state === "running" && (
        <p className="po-Speech">
          {speech.item !== null && <span className="po-Quiet">{trans.__("row %1", speech.item)} │ </span>}
          {speech.text}
        </p>
      )}
      <div className="po-Verbs">
        {task.items && <Button label={trans.__("Rows")} onClick={() => go("rows")} />}
        {asksModel(task.kind) && <Button label={trans.__("Calls")} onClick={() => go("calls")} />}
        <Button label={trans.__("Logs")} onClick={() => go("logs")} />
      </div>
    </section>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** The width of an element, as it is now. */
function useWidth(): [React.RefObject<HTMLDivElement>, number] {
  const box = React.useRef<HTMLDivElement>(null);
  const [width, setWidth] = React.useState(NARROW);
  React.useEffect(() => {
    const element = box.current;
    if (!element || typeof ResizeObserver === "undefined") {
      return;
    }
    const observer = new ResizeObserver(([entry]) => entry && setWidth(entry.contentRect.width));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [box, width];
}
