/** The graph of a run's tasks. Loaded when it is first shown: React Flow and dagre are a chunk of their own. */

import * as React from "react";
import { Controls, Handle, MarkerType, Position, ReactFlow, useReactFlow, useStore } from "@xyflow/react";
import type { Edge, Node, NodeProps } from "@xyflow/react";
import "@xyflow/react/dist/base.css";
import { rowCounts, shownTaskState } from "../../../format/run.js";
import { elapsed } from "../../../format/time.js";
import type { Run, Task } from "../../../api/types.js";
import { usePage } from "../context.js";
import { Glyph, taskSeconds } from "../parts.js";
import { NODE, layout } from "./layout.js";
import { language, stateName } from "../../../format/language.js";

interface GraphProps {
  needs: Readonly<Record<string, readonly string[]>>;
  chosen: string;
  choose: (task: string) => void;
  /** From top to bottom: there is little room at the sides. */
  down: boolean;
  /** Of the page, in pixels. */
  width: number;
}

const TALLEST = 440;

type TaskNode = Node<{ task: Task; run: Run; now: number; down: boolean }, "task">;

const FIT = { maxZoom: 1, padding: 0.04 };
const TYPES = { task: TaskBox };

export default function Graph({ needs, chosen, choose, down, width }: GraphProps): JSX.Element {
  const { run, now, trans } = usePage();
  const names = run.tasks.map(task => task.name);
  const key = JSON.stringify([names, needs, down]);
  const placed = React.useMemo(() => layout(names, needs, down), [key]);
  const nodes: TaskNode[] = placed.places.flatMap(({ name, x, y }) => {
    const task = run.tasks.find(one => one.name === name);
    return task
      ? [{
          id: name,
          type: "task" as const,
          position: { x, y },
          data: { task, run, now, down },
          selected: name === chosen,
          width: NODE.width,
          height: NODE.height,
          ariaLabel: `${name}: ${stateName(task.state)}`
        }]
      : [];
  });
  const edges: Edge[] = placed.edges.map(({ from, to }) => ({
    id: `${from} ${to}`,
    source: from,
    target: to,
    focusable: false,
    markerEnd: { type: MarkerType.ArrowClosed, width: 14, height: 14 },
    ariaLabel: trans.__("%1 after %2", to, from)
  }));
  const onKey = (event: React.KeyboardEvent): void => {
    const id = (event.target as HTMLElement).closest<HTMLElement>(".react-flow__node")?.dataset.id;
    if (id && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      choose(id);
    }
  };
  const height = Math.min(TALLEST, placed.height + 24);
  const fits = placed.width < width && placed.height < TALLEST;
  return (
    <div className="po-Graph-box" style={{ height }} onKeyDown={onKey}>
    <ReactFlow
      nodes={nodes}
      edges={edges}
      nodeTypes={TYPES}
      fitView
      fitViewOptions={FIT}
      panOnDrag={!fits}
      minZoom={0.2}
      maxZoom={1.5}
      nodesDraggable={false}
      nodesConnectable={false}
      zoomOnScroll={false}
      preventScrolling={false}
      elementsSelectable={false}
      onNodeClick={(_, node) => choose(node.id)}
      key={key}
    >
      <Fitted />
      {!fits && <Controls showInteractive={false} position="top-right" />}
    </ReactFlow>
    </div>
  );
}

/** Keeps the whole graph in sight when its room changes: in the room that the graph itself knows of, which it measures. */
function Fitted(): null {
  const { fitView } = useReactFlow();
  const width = useStore(state => state.width);
  const height = useStore(state => state.height);
  React.useEffect(() => void fitView(FIT), [fitView, width, height]);
  return null;
}

function TaskBox({ data: { task, run, now, down }, selected }: NodeProps<TaskNode>): JSX.Element {
  const state = shownTaskState(task);
  const seconds = task.state === "pending" ? null : taskSeconds(run, task, now);
  const share = task.items?.total ? (task.items.done + task.items.failed) / task.items.total : null;
  return (
    <div className={`po-Node po-is-${state}${selected ? " po-is-chosen" : ""}`} data-task={task.name} data-state={task.state}>
      <Handle type="target" position={down ? Position.Top : Position.Left} isConnectable={false} />
      <div className="po-Node-head">
        <Glyph state={state} />
        <span className="po-Node-name" title={task.name}>
          {task.name}
        </span>
        <span className="po-Node-time">{seconds === null ? "" : elapsed(seconds)}</span>
      </div>
      <div className="po-Node-line">{nodeLine(task)}</div>
      {share !== null && task.state === "running" && (
        <div className="po-Node-bar">
          <div style={{ width: `${share * 100}%` }} />
        </div>
      )}
      <Handle type="source" position={down ? Position.Bottom : Position.Right} isConnectable={false} />
    </div>
  );
}

function nodeLine(task: Task): string {
  if (task.state === "running" && task.waiting) {
    return task.waiting;
  }
  if (task.items) {
    return rowCounts(task.items, task.state === "running");
  }
  return task.state === "running" ? (task.stage ?? language.trans.__("starting")) : stateName(task.state);
}
