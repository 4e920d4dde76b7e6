"""One line of a run's history: the event, its draft, and the list of types it can have.

Offsets start at 1 and have no gaps. The state of a run is the fold of its events, so an event carries
everything that the state needs. The data of each type is a TypedDict of `event_data`:

run.created  run.started  run.waiting  run.done  run.failed  run.cancelled  run.dead  run.resumed
run.cancel_requested  run.held  worker.crashed  budget.warning
run.moved  run.move_accepted  run.move_refused  run.received
gate.opened  gate.decided                                                               (task)
task.started  task.stage  task.waiting  task.retrying  task.done  task.failed  task.skipped  task.cancelled  (task)
tasks.added                                                     (task) the one that put them behind `after`
map.started  map.progress  cascade.learned                                              (task)
item.failed  item.reviewed                                                              (task, item)
call.retry  call.done  call.unknown  call.withdrawn                                     (task, item?)
batch.prepared  batch.submitted  batch.cancelling  batch.dropped  batch.closed          (task)
shards.planned  shard.merged  shard.reopened  shard.ended                                               (task)

Ephemeral (SSE only, no offset): text {task, item?, text, round}.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict, Unpack, overload

from pydantic import BaseModel, ConfigDict, Field

from po_jupyter.model.values.json import JsonObject

if TYPE_CHECKING:
    from po_jupyter.model.run.cascade_events import CascadeLearnedData
    from po_jupyter.model.run.event_data import (
        BatchCancellingData,
        BatchClosedData,
        BatchDroppedData,
        BatchPreparedData,
        BatchSubmittedData,
        BudgetWarningData,
        CallDoneData,
        CallRetryData,
        CallUsageData,
        GateDecidedData,
        GateOpenedData,
        ItemFailedData,
        ItemReviewedData,
        MapProgressData,
        MapStartedData,
        RunCancelRequestedData,
        RunCreatedData,
        RunEndedData,
        RunHeldData,
        RunResumedData,
        RunStartedData,
        RunWaitingData,
        ShardEndedData,
        ShardMergedData,
        ShardReopenedData,
        ShardsPlannedData,
        TaskDoneDraft,
        TaskFailedData,
        TaskRetryingData,
        TasksAddedData,
        TaskSkippedData,
        TaskStageData,
        TaskStartedData,
        TaskWaitingData,
        WorkerCrashedData,
    )
    from po_jupyter.model.run.move_events import RunMovedData, RunMoveEndedData, RunReceivedData


def now() -> str:
    """The time as ISO 8601 UTC with milliseconds, e.g. `2026-11-22T12:00:00.000Z`."""
    seconds, millisecond = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{_up_to_seconds(seconds)}.{millisecond:03d}Z"


@lru_cache(maxsize=1)
def _up_to_seconds(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")


class Event(BaseModel):
    """An event as clients get it: `{offset, at, type, run, task?, item?, data}`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    offset: int
    at: str
    type: str
    run: str
    task: str | None = None
    item: int | None = None
    data: JsonObject = Field(default_factory=dict)


class EventDraft(TypedDict):
    """An event before the store gives it its offset and run: the form that a commit carries.

    `type` is a `str`, not a Literal: a log may hold types of a later version.
    """

    at: str
    type: str
    data: JsonObject
    task: NotRequired[str]
    item: NotRequired[int]


class NumberedEvent(EventDraft):
    """An event with its place in the log: the form that the fold takes."""

    offset: int


class EventRecord(NumberedEvent):
    """An event as it is read from the store."""

    run: str


def event_draft(type: str, task: str | None, item: int | None, data: Mapping[str, Any]) -> EventDraft:
    """An event of now whose type is known only at run time; `draft` checks the fields of the others."""
    event: EventDraft = {"at": now(), "type": type, "data": dict(data)}
    if task is not None:
        event["task"] = task
    if item is not None:
        event["item"] = item
    return event


# The data of each type, for the type checker: a wrong field at a call is an error there.
@overload
def draft(type: Literal["run.created"], **data: Unpack[RunCreatedData]) -> EventDraft: ...


@overload
def draft(type: Literal["run.started"], **data: Unpack[RunStartedData]) -> EventDraft: ...


@overload
def draft(type: Literal["run.waiting"], **data: Unpack[RunWaitingData]) -> EventDraft: ...


@overload
def draft(type: Literal["run.done"]) -> EventDraft: ...


@overload
def draft(
    type: Literal["run.failed", "run.cancelled", "run.dead"], **data: Unpack[RunEndedData]
) -> EventDraft: ...


@overload
def draft(type: Literal["run.resumed"], **data: Unpack[RunResumedData]) -> EventDraft: ...


@overload
def draft(type: Literal["run.cancel_requested"], **data: Unpack[RunCancelRequestedData]) -> EventDraft: ...


@overload
def draft(type: Literal["run.held"], **data: Unpack[RunHeldData]) -> EventDraft: ...


@overload
def draft(type: Literal["run.moved"], **data: Unpack[RunMovedData]) -> EventDraft: ...
@overload
def draft(
    type: Literal["run.move_accepted", "run.move_refused"], **data: Unpack[RunMoveEndedData]
) -> EventDraft: ...
@overload
def draft(type: Literal["run.received"], **data: Unpack[RunReceivedData]) -> EventDraft: ...


@overload
def draft(type: Literal["worker.crashed"], **data: Unpack[WorkerCrashedData]) -> EventDraft: ...


@overload
def draft(type: Literal["budget.warning"], **data: Unpack[BudgetWarningData]) -> EventDraft: ...


@overload
def draft(type: Literal["gate.opened"], task: str, **data: Unpack[GateOpenedData]) -> EventDraft: ...


@overload
def draft(type: Literal["gate.decided"], task: str, **data: Unpack[GateDecidedData]) -> EventDraft: ...


@overload
def draft(type: Literal["task.started"], task: str, **data: Unpack[TaskStartedData]) -> EventDraft: ...


@overload
def draft(type: Literal["task.stage"], task: str, **data: Unpack[TaskStageData]) -> EventDraft: ...


@overload
def draft(type: Literal["task.waiting"], task: str, **data: Unpack[TaskWaitingData]) -> EventDraft: ...


@overload
def draft(type: Literal["task.retrying"], task: str, **data: Unpack[TaskRetryingData]) -> EventDraft: ...


@overload
def draft(type: Literal["task.done"], task: str, **data: Unpack[TaskDoneDraft]) -> EventDraft: ...


@overload
def draft(type: Literal["task.failed"], task: str, **data: Unpack[TaskFailedData]) -> EventDraft: ...


@overload
def draft(type: Literal["task.skipped"], task: str, **data: Unpack[TaskSkippedData]) -> EventDraft: ...


@overload
def draft(type: Literal["tasks.added"], task: str, **data: Unpack[TasksAddedData]) -> EventDraft: ...


@overload
def draft(type: Literal["task.cancelled"], task: str) -> EventDraft: ...


@overload
def draft(type: Literal["map.started"], task: str, **data: Unpack[MapStartedData]) -> EventDraft: ...


@overload
def draft(type: Literal["map.progress"], task: str, **data: Unpack[MapProgressData]) -> EventDraft: ...


@overload
def draft(type: Literal["cascade.learned"], task: str, **data: Unpack[CascadeLearnedData]) -> EventDraft: ...


@overload
def draft(type: Literal["batch.prepared"], task: str, **data: Unpack[BatchPreparedData]) -> EventDraft: ...


@overload
def draft(type: Literal["batch.submitted"], task: str, **data: Unpack[BatchSubmittedData]) -> EventDraft: ...


@overload
def draft(type: Literal["batch.cancelling"], task: str, **data: Unpack[BatchCancellingData]) -> EventDraft: ...


@overload
def draft(type: Literal["shards.planned"], task: str, **data: Unpack[ShardsPlannedData]) -> EventDraft: ...
@overload
def draft(type: Literal["shard.merged"], task: str, **data: Unpack[ShardMergedData]) -> EventDraft: ...
@overload
def draft(type: Literal["shard.reopened"], task: str, **data: Unpack[ShardReopenedData]) -> EventDraft: ...
@overload
def draft(type: Literal["shard.ended"], task: str, **data: Unpack[ShardEndedData]) -> EventDraft: ...
@overload
def draft(type: Literal["batch.dropped"], task: str, **data: Unpack[BatchDroppedData]) -> EventDraft: ...


@overload
def draft(type: Literal["batch.closed"], task: str, **data: Unpack[BatchClosedData]) -> EventDraft: ...


@overload
def draft(
    type: Literal["call.retry"], task: str, item: int | None = None, **data: Unpack[CallRetryData]
) -> EventDraft: ...


@overload
def draft(
    type: Literal["call.done"], task: str, item: int | None = None, **data: Unpack[CallDoneData]
) -> EventDraft: ...


@overload
def draft(
    type: Literal["call.unknown", "call.withdrawn"],
    task: str,
    item: int | None = None,
    **data: Unpack[CallUsageData],
) -> EventDraft: ...


@overload
def draft(type: Literal["item.failed"], task: str, item: int, **data: Unpack[ItemFailedData]) -> EventDraft: ...


@overload
def draft(
    type: Literal["item.reviewed"], task: str, item: int, **data: Unpack[ItemReviewedData]
) -> EventDraft: ...


def draft(type: str, task: str | None = None, item: int | None = None, **data: Any) -> EventDraft:
    """An event of now."""
    event: EventDraft = {"at": now(), "type": type, "data": data}
    if task is not None:
        event["task"] = task
    if item is not None:
        event["item"] = item
    return event
