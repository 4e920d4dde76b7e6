"""The state of a run, as the fold of its events makes it (`state.fold`), and the view of it for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from po_jupyter.model.run.usage import Usage
from po_jupyter.model.run.view import ItemCounts, RunStatus, RunView, TaskStatus, TaskView
from po_jupyter.model.values.json import JsonObject, JsonValue

if TYPE_CHECKING:
    from po_jupyter.model.run.cascade_events import CascadeLearnedData
    from po_jupyter.model.run.event_data import ShardOrigin
    from po_jupyter.model.run.shard_record import GateBelow, ShardRecord


@dataclass(slots=True)
class TaskState:
    """One task. `output` is a payload reference `[n, index]`; `delay` (s) is what the next attempt waits."""

    name: str
    kind: Literal["prompt", "embed", "python", "operator", "pipeline"] = "prompt"
    state: TaskStatus = "pending"
    stage: str | None = None
    attempt: int = 0
    spent: int = 0  # attempts before the last resume: those do not count towards `retry.max_attempts`
    started_at: str | None = None
    ended_at: str | None = None
    usage: Usage = field(default_factory=Usage)
    error: JsonObject | None = None
    output: list[int] | None = None
    items: ItemCounts | None = None
    rows_of: str | None = None  # the list of the seed whose rows are those of the map
    waiting: str | None = None
    gate_below: GateBelow | None = None  # what `waiting` is about: a gate in the run of its pipeline
    waiting_stays: bool = False  # until a stage begins or the task ends: answers of other calls do not end it
    delay: float = 0.0
    gate: str | None = None  # open, approved, rejected
    gate_info: JsonObject | None = None
    artifacts: tuple[JsonObject, ...] = ()  # see `files.artifacts.Artifact`
    cleared_at: int = 0  # offset of the resume that made earlier row outcomes void
    reason: str | None = None  # why it was skipped
    skipped_by: str | None = None  # the task that skipped it
    batches: dict[str, JsonObject] = field(
        default_factory=dict
    )  # at a provider, by token; never changed in place
    shards: dict[str, ShardRecord] = field(default_factory=dict)  # child runs, by run; never changed in place
    cascade: CascadeLearnedData | None = None  # the threshold that it learned

    @property
    def failed_rows(self) -> int:
        """The rows of the map that failed, or of the maps of the pipeline that the task runs."""
        if self.kind != "pipeline":
            return self.items.failed if self.items is not None else 0
        run = self.pipeline_run
        return self.shards[run].get("failed_rows", 0) if run is not None else 0

    @property
    def pipeline_run(self) -> str | None:
        """The run of the pipeline that the task runs: the newest one, unless the task was started over since."""
        newest = next(reversed(self.shards.values()), None)
        return newest["run"] if newest is not None and newest["offset"] >= self.cleared_at else None

    @property
    def open_shards(self) -> list[ShardRecord]:
        """The child runs that are at work on its rows, or whose outcomes are not all here."""
        return [shard for shard in self.shards.values() if "state" not in shard]


class AddedTask(NamedTuple):
    """A task that another one (`by`) put behind `after` while the run was on its way; see `engine.control`."""

    definition: JsonObject
    by: str
    after: str


@dataclass(slots=True)
class RunState:
    """The state of one run: all that decisions and views need. It is not changed once `fold` returned it."""

    run: str
    name: str = ""
    pipeline: str = ""
    version: str = ""
    owner: str = ""
    state: RunStatus = "pending"
    created_at: str = ""
    updated_at: str = ""
    tasks: dict[str, TaskState] = field(default_factory=dict)
    error: JsonObject | None = None
    budget: JsonObject = field(default_factory=dict)
    warnings: dict[str, JsonObject] = field(default_factory=dict)  # of budgets, by scope
    request: str = ""  # the id of the request that started, or resumed, it
    cancel_requested: bool = False
    crashes: int = 0
    offset: int = 0
    added: dict[str, AddedTask] = field(default_factory=dict)
    withdrawn: dict[str, TaskState] = field(default_factory=dict)  # added tasks whose task is done again
    only: str | None = None  # the one task that a restart asked for
    forked_from: JsonObject | None = None
    parent: ShardOrigin | None = None
    acts: tuple[JsonObject, ...] = ()  # the last ones, `{act, by, at}`
    moved: JsonObject | None = None  # where it is worked off, once that is not here

    @property
    def open_batches(self) -> list[str]:
        """Tasks with a batch at a provider that was not collected yet."""
        return [task.name for task in self.tasks.values() if task.batches]

    @property
    def open_shards(self) -> list[str]:
        """Tasks with child runs whose outcomes are not all here."""
        return [task.name for task in self.tasks.values() if task.shards and task.open_shards]

    @property
    def child_runs(self) -> list[str]:
        """Every child run that the run ever had, those of tasks that are no more included."""
        return [run for task in (*self.tasks.values(), *self.withdrawn.values()) for run in task.shards]

    def merged_of(self, child: str) -> int:
        """The number of the last record of a child run that is in the log of this one."""
        tasks = (*self.tasks.values(), *self.withdrawn.values())
        return next((task.shards[child]["merged"] for task in tasks if child in task.shards), 0)

    @property
    def works_elsewhere(self) -> bool:
        """Whether something of it is at work that a worker of this run has to collect before the run ends."""
        return bool(self.open_batches or self.open_shards)

    @property
    def usage(self) -> Usage:
        """The sum over the tasks, calls of failed attempts and of withdrawn tasks included."""
        result = Usage()
        for task in (*self.tasks.values(), *self.withdrawn.values()):
            result = result + task.usage
        return result


def run_view_of(
    state: RunState, seed: Mapping[str, JsonValue], *, position: int | None = None, waiting: str | None = None
) -> RunView:
    """The view of `state` for people; `waiting` is the reason why the run waits for the store."""
    gate, waits = _open_gate(state)
    return RunView(
        id=state.run,
        name=state.name,
        pipeline=state.pipeline,
        version=state.version,
        state="waiting" if waits and state.state == "running" else state.state,
        created_at=state.created_at,
        updated_at=state.updated_at,
        seed=dict(seed),
        tasks=tuple(_task_view(t) for t in state.tasks.values()),
        gate=gate,
        usage=state.usage,
        budget=state.budget,
        warnings=tuple(state.warnings.values()),
        error=state.error,
        position=position,
        waiting=waiting,
        last_event=state.offset,
        owner=state.owner,
        forked_from=state.forked_from,
        parent=None if state.parent is None else dict(state.parent),
        moved=state.moved,
        acts=(*state.acts, *(act for t in state.tasks.values() for act in _decision(t))),
    )


def _decision(t: TaskState) -> list[JsonObject]:
    """Who decided the gate of the task."""
    by = (t.gate_info or {}).get("by")
    return [{"act": t.gate, "by": by, "at": (t.gate_info or {}).get("at") or ""}] if by else []


def _open_gate(state: RunState) -> tuple[JsonObject | None, bool]:
    """The gate that the run waits at, its own or one in the run of a task's pipeline (`task` is the way to it then,
    joined by dots, and `run` has it); and whether the second is all that its tasks wait for."""
    for t in state.tasks.values():
        if t.gate == "open":
            return {"task": t.name, **(t.gate_info or {})}, False
    running = [t for t in state.tasks.values() if t.state == "running"]
    below = [(t.name, t.gate_below) for t in running if t.waiting is not None and t.gate_below is not None]
    if not below:
        return None, False
    name, gate = below[0]
    return {**gate, "task": f"{name}.{gate['task']}"}, len(below) == len(running)


def _task_view(t: TaskState) -> TaskView:
    return TaskView.model_construct(
        name=t.name,
        state=t.state,
        kind=t.kind,
        stage=t.stage,
        attempt=t.attempt,
        started_at=t.started_at,
        ended_at=t.ended_at,
        usage=t.usage,
        error=t.error,
        items=t.items,
        waiting=t.waiting,
        reason=t.reason,
        cascade=None if t.cascade is None else dict(t.cascade),
        shards=tuple(
            {
                "run": s["run"],
                "shard": s["shard"],
                "rows": s["rows"],
                "state": s.get("state"),
                **({"failed_rows": s["failed_rows"]} if "failed_rows" in s else {}),
            }
            for s in t.shards.values()
        ),
    )
