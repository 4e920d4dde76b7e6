"""The fold of events to the state of a run. Pure; the same fold serves the worker, the API and recovery."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from po_jupyter.engine.state import child_runs
from po_jupyter.engine.state.acts import noting
from po_jupyter.engine.state.added_tasks import add_tasks, withdraw_added
from po_jupyter.engine.state.moved_runs import run_move_accepted, run_move_refused, run_moved, run_received
from po_jupyter.engine.state.run_state import RunState, TaskState
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.run.view import ENDED, ItemCounts, RunStatus, TaskStatus

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
        MapProgressData,
        MapStartedData,
        RunCancelRequestedData,
        RunCreatedData,
        RunEndedData,
        RunResumedData,
        RunStartedData,
        TaskDoneData,
        TaskFailedData,
        TaskRetryingData,
        TaskSkippedData,
        TaskStageData,
        TaskStartedData,
        TaskWaitingData,
        WorkerCrashedData,
    )
    from po_jupyter.model.run.events import NumberedEvent
    from po_jupyter.model.run.shard_record import GateBelow

S = TypeVar("S", TaskState, RunState)


_VALUES = {kind: attrgetter(*kind.__slots__) for kind in (TaskState, RunState)}


def _copy(state: S) -> S:
    # `copy.copy` takes eight times as long, and a task is copied a dozen times.
    return type(state)(*_VALUES[type(state)](state))


def fold(state: RunState, events: Iterable[NumberedEvent]) -> RunState:
    """`state` with `events` (in offset order) applied; `state` itself stays as it was.

    Events already seen (offset not above the state's) are passed over, so a duplicate delivery changes
    nothing; a type that this version does not know only moves the offset.
    """
    result = _copy(state)
    result.tasks = dict(state.tasks)
    result.added, result.withdrawn = dict(state.added), dict(state.withdrawn)
    fresh: set[str] = set()

    def task_of(name: str) -> TaskState:
        if name not in fresh:
            task = result.tasks.get(name)
            result.tasks[name] = _copy(task) if task is not None else TaskState(name)
            fresh.add(name)
        return result.tasks[name]

    for event in events:
        offset = event["offset"]
        if offset <= result.offset:
            continue
        result.offset = offset
        kind = event["type"]
        before = result.state
        data: Any = event.get("data") or {}
        name = event.get("task")
        if name is not None and kind == "tasks.added":
            add_tasks(result, name, data)
        elif name is not None:
            apply_task = _TASK.get(kind)
            if apply_task is not None:
                task = task_of(name)
                if kind in _PROGRESS or (kind == "map.progress" and _more_rows(task, data)):
                    result.crashes = 0
                apply_task(task, data, event["at"], offset)
        else:
            apply_run = _RUN.get(kind)
            if apply_run is not None:
                apply_run(result, data, event["at"], offset, task_of)
        if before not in ENDED or result.state != before:
            result.updated_at = event[
                "at"
            ]  # of an ended run it is its end, whatever people do with it a week later
    return result


# -- one small function for each type of event ---------------------------------------------------------

TaskOf = Callable[[str], TaskState]  # a copy of the task of that name, which a rule may change
# (state, data, at, offset). Each rule names the TypedDict of its data; the tables below are by the event's type.
TaskRule = Callable[[TaskState, Any, str, int], None]
RunRule = Callable[[RunState, Any, str, int, TaskOf], None]


def _end(task: TaskState, state: TaskStatus, at: str) -> None:
    task.state = state
    task.ended_at = at
    task.waiting = None


def _task_started(t: TaskState, data: TaskStartedData, at: str, offset: int) -> None:
    t.state = "running"
    t.attempt = data.get("attempt", t.attempt + 1)
    t.started_at = t.started_at or at
    t.ended_at = t.error = t.waiting = None
    t.delay = 0.0


def _task_stage(t: TaskState, data: TaskStageData, at: str, offset: int) -> None:
    t.stage = data.get("stage")
    t.waiting = None


def _task_waiting(t: TaskState, data: TaskWaitingData | CallRetryData, at: str, offset: int) -> None:
    seconds, reason = data.get("seconds"), data.get("reason")
    t.waiting_stays = bool(data.get("stays"))
    t.gate_below = cast("GateBelow | None", data.get("gate"))
    if reason is None:
        t.waiting = None
    elif seconds and round(seconds):
        t.waiting = f"waiting {seconds:.0f} s for {reason}"
    else:
        t.waiting = f"waiting for {reason}"


def _task_retrying(t: TaskState, data: TaskRetryingData, at: str, offset: int) -> None:
    t.state = "pending"
    t.attempt = data.get("attempt", t.attempt)
    t.delay = float(data.get("delay") or 0.0)
    t.error = data.get("error")
    t.waiting = f"next attempt in {t.delay:.0f} s" if t.delay >= 1 else None


def _task_done(t: TaskState, data: TaskDoneData, at: str, offset: int) -> None:
    _end(t, "done", at)
    t.output = data.get("output")
    t.artifacts = tuple(data.get("artifacts") or ())
    t.error = None
    if t.items is not None:
        t.items = t.items.model_copy(update={"in_flight": 0})


def _task_failed(t: TaskState, data: TaskFailedData, at: str, offset: int) -> None:
    _end(t, "failed", at)
    t.error = data.get("error")


def _task_skipped(t: TaskState, data: TaskSkippedData, at: str, offset: int) -> None:
    _end(t, "skipped", at)
    t.reason, t.skipped_by = data.get("reason"), data.get("by")


def _task_cancelled(t: TaskState, data: object, at: str, offset: int) -> None:
    _end(t, "cancelled", at)


def _map_started(t: TaskState, data: MapStartedData, at: str, offset: int) -> None:
    done, reused = (t.items.done, t.items.reused) if t.items is not None else (0, 0)
    t.items = ItemCounts(total=data["total"], done=done, reused=reused)
    t.stage, t.rows_of = data.get("stage"), data.get("of")


def _map_progress(t: TaskState, data: MapProgressData, at: str, offset: int) -> None:
    items = t.items if t.items is not None else ItemCounts(total=data["done"] + data["failed"])
    t.items = items.model_copy(
        update={
            "done": data["done"],
            "failed": data["failed"],
            "in_flight": data.get("in_flight", 0),
            "reused": data.get("reused", 0),
            "kept": data.get("kept"),
            "made": data.get("made"),
            "of": data.get("of"),
            "alone": data.get("alone"),
        }
    )
    _add_usage(t, data, at, offset)


def _cascade_learned(t: TaskState, data: CascadeLearnedData, at: str, offset: int) -> None:
    t.cascade = data


def _add_usage(
    t: TaskState, data: CallDoneData | CallUsageData | MapProgressData, at: str, offset: int
) -> None:
    usage = data.get("usage")
    if usage:
        t.usage = t.usage.plus(usage)
    if not t.waiting_stays:
        t.waiting = None


def _batch_prepared(t: TaskState, data: BatchPreparedData, at: str, offset: int) -> None:
    t.batches = {**t.batches, data["token"]: {**data, "at": at, "offset": offset}}


def _batch_submitted(t: TaskState, data: BatchSubmittedData, at: str, offset: int) -> None:
    batch = t.batches.get(data["token"])
    if batch is not None:
        t.batches = {**t.batches, data["token"]: {**batch, **data}}


def _batch_cancelling(t: TaskState, data: BatchCancellingData, at: str, offset: int) -> None:
    batch = t.batches.get(data["token"])
    if batch is not None:
        t.batches = {**t.batches, data["token"]: {**batch, **data, "cancelling": True}}


def _batch_gone(t: TaskState, data: BatchDroppedData | BatchClosedData, at: str, offset: int) -> None:
    t.batches = {token: batch for token, batch in t.batches.items() if token != data["token"]}


def _gate_opened(t: TaskState, data: GateOpenedData, at: str, offset: int) -> None:
    t.gate = "open"
    t.gate_info = {"message": data.get("message", ""), "artifacts": data.get("artifacts", [])}


def _gate_decided(t: TaskState, data: GateDecidedData, at: str, offset: int) -> None:
    t.gate = "approved" if data.get("decision") == "approve" else "rejected"
    t.gate_info = {**(t.gate_info or {}), "note": data.get("note", ""), "by": data.get("by"), "at": at}


_TASK: dict[str, TaskRule] = {
    "task.started": _task_started,
    "task.stage": _task_stage,
    "task.waiting": _task_waiting,
    "call.retry": _task_waiting,
    "task.retrying": _task_retrying,
    "task.done": _task_done,
    "task.failed": _task_failed,
    "task.skipped": _task_skipped,
    "task.cancelled": _task_cancelled,
    "map.started": _map_started,
    "map.progress": _map_progress,
    "cascade.learned": _cascade_learned,
    "call.done": _add_usage,
    "call.unknown": _add_usage,
    "batch.prepared": _batch_prepared,
    "batch.submitted": _batch_submitted,
    "batch.cancelling": _batch_cancelling,
    "batch.dropped": _batch_gone,
    "batch.closed": _batch_gone,
    "call.withdrawn": _add_usage,
    "shards.planned": child_runs.plan,
    "shard.merged": child_runs.merge,
    "shard.reopened": child_runs.reopen,
    "shard.ended": child_runs.end,
    "gate.opened": _gate_opened,
    "gate.decided": _gate_decided,
}


# What a worker that starts over and crashes in the same place cannot say again: only this is progress.
# `task.started`, `task.stage` and a map's first counters are repeated by every attempt to go on after a crash.
_PROGRESS = frozenset({
    "task.retrying", "task.done", "task.failed", "task.skipped", "task.cancelled", "call.done", "gate.opened",
    "gate.decided", "batch.submitted", "batch.closed",
})  # fmt: skip


def _more_rows(t: TaskState, data: MapProgressData) -> bool:
    return t.items is None or data["done"] + data["failed"] > t.items.done + t.items.failed


def _run_created(s: RunState, data: RunCreatedData, at: str, offset: int, task_of: TaskOf) -> None:
    s.name, s.pipeline, s.version = data["name"], data["pipeline"], data["version"]
    s.owner = data.get("owner", "")
    origin = data.get("forked_from")
    s.forked_from = dict(origin) if origin is not None else None
    s.parent = data.get("parent")
    s.budget = dict(data.get("budget") or {})
    s.created_at = at
    s.request = str(data.get("request") or "")
    for task in data["tasks"]:
        task_of(task["name"]).kind = task["kind"]


def _run_started(s: RunState, data: RunStartedData, at: str, offset: int, task_of: TaskOf) -> None:
    s.state = "running"


def _run_ended(state: RunStatus) -> RunRule:
    def rule(s: RunState, data: RunEndedData, at: str, offset: int, task_of: TaskOf) -> None:
        s.state = state
        s.error = data.get("error")
        s.cancel_requested = False
        if state != "waiting":
            s.only = None
        if state in ("cancelled", "failed", "dead"):
            for task in list(s.tasks.values()):
                if task.state == "running":
                    _end(task_of(task.name), "cancelled" if state == "cancelled" else "failed", at)
                    if state == "dead":
                        task_of(task.name).error = data.get("error")

    return rule


def _run_resumed(s: RunState, data: RunResumedData, at: str, offset: int, task_of: TaskOf) -> None:
    s.state = "pending"
    s.error = None
    s.cancel_requested = False
    s.crashes = 0
    s.request = str(data.get("request") or s.request)
    if budget := data.get("budget"):
        tasks = {**s.budget.get("tasks", {}), **budget.get("tasks", {})}
        s.budget = {**s.budget, **budget, **({"tasks": tasks} if tasks else {})}
        again = {"day", *budget.get("tasks", {})} | ({"run"} if budget.keys() - {"tasks"} else set())
        s.warnings = {scope: warning for scope, warning in s.warnings.items() if scope not in again}
    if "reset" in data:  # not when a gate was approved: that only goes on
        s.only = data.get("only")
    for name in withdraw_added(s, data.get("reset", ())):
        task = task_of(name)
        task.state, task.stage = "pending", None
        task.spent = task.attempt
        task.started_at = task.ended_at = task.error = task.waiting = task.output = None
        task.artifacts = ()
        task.delay = 0.0
        task.gate = task.gate_info = None
        task.reason = task.skipped_by = None
        if data.get("clear_usage"):
            task.usage = Usage()
    for name, asked in data.get("rows", {}).items():
        task = task_of(name)
        if task.items is not None:
            # What a worker that was killed had not reported yet is not in the items.
            done = max(0, task.items.done - asked["done"])
            failed = max(0, task.items.failed - asked["failed"])
            task.items = task.items.model_copy(update={"done": done, "failed": failed, "in_flight": 0})
    for name in data.get("clear", ()):
        if name in s.tasks:
            task = task_of(name)
            task.items, task.cascade, task.cleared_at = None, None, offset


def _cancel_requested(s: RunState, data: RunCancelRequestedData, at: str, offset: int, task_of: TaskOf) -> None:
    s.cancel_requested = s.state not in ENDED


def _worker_crashed(s: RunState, data: WorkerCrashedData, at: str, offset: int, task_of: TaskOf) -> None:
    if data.get("counted", True):
        s.crashes += 1


def _budget_warning(s: RunState, data: BudgetWarningData, at: str, offset: int, task_of: TaskOf) -> None:
    s.warnings = {**s.warnings, data["scope"]: dict(data)}


_RUN: dict[str, RunRule] = {
    "budget.warning": _budget_warning,
    "run.created": noting("started", _run_created),
    "run.started": _run_started,
    "run.waiting": _run_ended("waiting"),
    "run.done": _run_ended("done"),
    "run.failed": _run_ended("failed"),
    "run.cancelled": _run_ended("cancelled"),
    "run.dead": _run_ended("dead"),
    "run.resumed": noting("resumed", _run_resumed),
    "run.cancel_requested": noting("cancelled", _cancel_requested),
    "worker.crashed": _worker_crashed,
    "run.moved": noting("moved", run_moved),
    "run.move_accepted": run_move_accepted,
    "run.move_refused": run_move_refused,
    "run.received": noting("moved", run_received),
}
