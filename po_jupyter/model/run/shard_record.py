"""A child run of a task, planned and as the state of the task has it."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from po_jupyter.model.values.json import JsonObject


class ShardPlan(TypedDict):
    """A child run of a map, or the one of a task that runs a pipeline. `rows` as `0-99,105`, "" for a pipeline;
    `share` of the budget as `[usd, tokens]`, None: no limit."""

    run: str
    shard: int
    rows: str
    share: NotRequired[list[float | None]]


class GateBelow(TypedDict):
    """An open gate in the run of a task's pipeline: the run that has it, and its task there; with pipelines in that,
    the names of the tasks on the way, joined by dots."""

    run: str
    task: str
    message: str
    artifacts: list[str]


class ShardRecord(ShardPlan):
    """What the events of a child run said. `merged`: up to which record its log is in this one; `reopened`: its last
    record when the task resumed it, with `only_failed` for rows that failed."""

    number: int
    merged: int
    offset: int
    reopened: NotRequired[int]
    only_failed: NotRequired[bool]
    state: NotRequired[str]
    error: NotRequired[JsonObject | None]
    failed_rows: NotRequired[int]
