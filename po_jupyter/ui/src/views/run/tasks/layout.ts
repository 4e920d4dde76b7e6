/** Where the tasks of a pipeline stand in its graph. Pure. */

import dagre from "@dagrejs/dagre";

export const NODE = { width: 196, height: 62 };

export interface Place {
  name: string;
  x: number;
  y: number;
}

export interface Layout {
  places: Place[];
  edges: { from: string; to: string }[];
  width: number;
  height: number;
}

/**
 * Layers from left to right, or from top to bottom with `down`. `needs` of tasks that are not there are left out, and
 * so are edges that another path implies: `a` to `c` where there are `a` to `b` and `b` to `c`.
 */
export function layout(names: readonly string[], needs: Readonly<Record<string, readonly string[]>>, down = false): Layout {
  const known = new Set(names);
  const direct = new Map(names.map(name => [name, (needs[name] ?? []).filter(need => known.has(need) && need !== name)]));
  const edges = names.flatMap(to => reduced(direct, to).map(from => ({ from, to })));
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: down ? "TB" : "LR", nodesep: 22, ranksep: 46, marginx: 8, marginy: 8 });
  graph.setDefaultEdgeLabel(() => ({}));
  names.forEach(name => graph.setNode(name, { ...NODE }));
  edges.forEach(({ from, to }) => graph.setEdge(from, to));
  dagre.layout(graph);
  const places = names.map(name => {
    const { x, y } = graph.node(name);
    return { name, x: x - NODE.width / 2, y: y - NODE.height / 2 };
  });
  const { width = 0, height = 0 } = graph.graph();
  return { places, edges, width, height };
}

/** The needs of a task that no other need of it already has behind itself. */
function reduced(direct: ReadonlyMap<string, readonly string[]>, task: string): string[] {
  const needs = [...new Set(direct.get(task))];
  return needs.filter(need => !needs.some(other => other !== need && reaches(direct, other, need)));
}

function reaches(direct: ReadonlyMap<string, readonly string[]>, from: string, to: string): boolean {
  const todo = [from];
  const seen = new Set<string>();
  for (let name = todo.pop(); name !== undefined; name = todo.pop()) {
    for (const need of direct.get(name) ?? []) {
      if (need === to) {
        return true;
      }
      if (!seen.has(need)) {
        seen.add(need);
        todo.push(need);
      }
    }
  }
  return false;
}
