/** The definition of a fork: that of its run, with what was changed. Pure. */

import type { Definition } from "./shapes.js";

export interface ForkAnswer {
  task: string;
  /** Null for a task without one. */
  prompt: string | null;
  model: string;
}

/** A pipeline is only sent when something of it is another one. */
export function forkBody(pipeline: Definition, answer: ForkAnswer): { task: string; changed: { pipeline?: object } } {
  let changed = false;
  const tasks = pipeline.tasks.map(task => {
    if (task.name !== answer.task) {
      return task;
    }
    const now = { ...task };
    if (answer.prompt !== null && answer.prompt !== task.prompt) {
      now.prompt = answer.prompt;
      changed = true;
    }
    const model = answer.model.trim();
    const own = task.llm as { model?: string } | undefined;
    if (model && model !== (own?.model ?? (pipeline.llm as { model?: string } | undefined)?.model)) {
      now.llm = { ...own, model };
      changed = true;
    }
    return now;
  });
  return { task: answer.task, changed: changed ? { pipeline: { ...pipeline, tasks } } : {} };
}
