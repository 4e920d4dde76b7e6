/** Runs for tests: whole ones, of which a test names what matters to it. */

import type { Run, Task } from "../../api/types.js";

const USAGE = {
  input_tokens: 0,
  output_tokens: 0,
  cached_tokens: 0,
  cost: 0,
  calls: 0,
  unknown: 0,
  reasoning_tokens: 0,
  cache_write_tokens: 0,
  cached_calls: 0,
  audio_tokens: 0
};

export function aTask(name: string, more: Partial<Task> = {}): Task {
  return {
    name,
    state: "pending",
    kind: "prompt",
    stage: null,
    attempt: 1,
    started_at: null,
    ended_at: null,
    usage: USAGE,
    error: null,
    items: null,
    waiting: null,
    reason: null,
    cascade: null,
    shards: [],
    ...more
  };
}

export function aRun(id: string, more: Partial<Run> = {}): Run {
  return {
    id,
    name: "tickets",
    pipeline: "tickets",
    version: "1.0.0",
    state: "running",
    created_at: "2026-11-22T12:00:00.000Z",
    updated_at: "2026-11-22T12:00:41.000Z",
    tasks: [],
    gate: null,
    usage: USAGE,
    budget: {},
    warnings: [],
    error: null,
    position: null,
    waiting: null,
    last_event: 1,
    owner: "local",
    parent: null,
    ...more
  };
}
