"""A run as everybody sees it: the shape that HTTP answers and that widgets, panels and terminals draw."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.json import JsonObject

RunStatus = Literal["pending", "running", "waiting", "done", "failed", "cancelled", "dead", "moved"]
TaskStatus = Literal["pending", "running", "done", "failed", "skipped", "cancelled"]
ENDED: frozenset[str] = frozenset({"done", "failed", "cancelled", "dead", "moved"})


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


def _is_none(value: object) -> bool:
    return value is None


class ItemCounts(_View):
    """Rows of a map: `done` counts successes; `reused` those among them that an earlier run paid for. Of an operator
    that is done, how many of its list (`of`) it `kept`, or how many it `made` of it. `alone`: once a cascade has
    learned its threshold, those that its first model answered without the second."""

    total: int = 0
    done: int = 0
    failed: int = 0
    in_flight: int = 0
    reused: int = 0
    kept: int | None = Field(default=None, exclude_if=_is_none)
    made: int | None = Field(default=None, exclude_if=_is_none)
    of: int | None = Field(default=None, exclude_if=_is_none)
    alone: int | None = Field(default=None, exclude_if=_is_none)


class TaskView(_View):
    """One task of a run. Times are ISO 8601 UTC; `stage` is the stage it is in, or the last one; `reason` is
    why it was skipped; `shards` are the child runs of a map, or of a task that runs a pipeline (`rows` is ""
    then): `{run, shard, rows, state}`, whose state is None until all of it is in this run. `cascade` is the threshold
    that a cascade learned, as `cascade.learned` has it."""

    name: str
    state: TaskStatus = "pending"
    kind: Literal["prompt", "embed", "python", "operator", "pipeline"] = "prompt"
    stage: str | None = None
    attempt: int = 0
    started_at: str | None = None
    ended_at: str | None = None
    usage: Usage = Usage()
    error: JsonObject | None = None
    items: ItemCounts | None = None
    waiting: str | None = None
    reason: str | None = None
    cascade: JsonObject | None = Field(default=None, exclude_if=_is_none)
    shards: tuple[JsonObject, ...] = ()


class RunView(_View):
    """One run. `last_event` is the offset of the newest event that this view has seen (0: none).

    `position` is its place in the queue; `waiting` says why it waits for the store (a full disk), in words.
    `forked_from` is `{run, from_task}` of a run that took over checkpoints of another one; `parent` is
    `{run, task, shard}` of a child run, which works on rows of a map. `moved` is `{to, group, by, accepted}` of a run
    that is worked off elsewhere: what is here is its tombstone, and `accepted` says that it is there. `acts` are
    the last things that people did with it, `{act, by, at}`: started, cancelled, resumed, moved; approved and rejected
    at the end. `warnings` are
    budgets of which 80 % are used: `{scope, used, budget, fraction}`; scope `run`, `day` or a task.
    """

    id: str
    name: str
    pipeline: str
    version: str
    state: RunStatus
    created_at: str
    updated_at: str
    seed: JsonObject
    tasks: tuple[TaskView, ...] = ()
    gate: JsonObject | None = None
    usage: Usage = Usage()
    budget: JsonObject = Field(default_factory=dict)
    warnings: tuple[JsonObject, ...] = ()
    error: JsonObject | None = None
    position: int | None = None
    waiting: str | None = None
    last_event: int = 0
    owner: str = ""
    forked_from: JsonObject | None = None
    parent: JsonObject | None = None
    moved: JsonObject | None = None
    acts: tuple[JsonObject, ...] = ()
