"""Dead letters (R1.2): runs that exhausted their attempts, each with all that explains why."""

from __future__ import annotations

from dataclasses import replace
from typing import TypedDict

from po_jupyter.engine.state.decide import Start, decide
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import CorruptRow
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.protocol import Head


class WorkPlace(TypedDict):
    """A task that was at work when its run died; `stage` is None when it had not begun."""

    task: str | None
    stage: str | None
    attempt: int | None


class DeadLetter(WorkPlace):
    """A dead run: which, where it was (the first of `at_work`), what happened last and how often, and the end of its
    worker's log."""

    id: str
    name: str
    pipeline: str
    version: str
    owner: str
    created_at: str
    died_at: str
    at_work: list[WorkPlace]
    error: JsonObject
    log: str
    crashes: int
    tasks: dict[str, int]
    usage: JsonObject


def letter(state: RunState, pipeline: Pipeline) -> DeadLetter:
    """The dead letter of a dead run."""
    error = state.error or {}
    details = error.get("details") or {}
    at_work: list[WorkPlace] = [
        {"task": t.name, "stage": t.stage, "attempt": t.attempt}
        for t in state.tasks.values()
        if t.state == "failed" and t.error == state.error
    ]
    if not at_work:
        # It died before the start of a task was durable: then it was at what comes next.
        commands = decide(pipeline, replace(state, state="running"))
        starts = [c for c in commands if isinstance(c, Start)]
        at_work = [{"task": c.task, "stage": None, "attempt": c.attempt} for c in starts]
    first: WorkPlace = at_work[0] if at_work else {"task": None, "stage": None, "attempt": None}
    return {
        "id": state.run,
        "name": state.name,
        "pipeline": state.pipeline,
        "version": state.version,
        "owner": state.owner,
        "created_at": state.created_at,
        "died_at": state.updated_at,
        **first,
        "at_work": at_work,
        "error": {**error, "details": {k: v for k, v in details.items() if k != "log"}},
        "log": details.get("log", ""),
        "crashes": details.get("crashes", state.crashes),
        "tasks": {"total": len(state.tasks), "done": sum(t.state == "done" for t in state.tasks.values())},
        "usage": state.usage.to_json(),
    }


def unreadable_letter(head: Head, error: CorruptRow) -> DeadLetter:
    """The letter of a dead run in whose rows something cannot be read: what its head says, and the error."""
    return {
        "id": head["run"], "name": head["name"], "pipeline": head["pipeline"], "version": head["version"],
        "owner": head["owner"], "created_at": head["created_at"], "died_at": head["updated_at"],
        "task": None, "stage": None, "attempt": None, "at_work": [],
        "error": error.to_json(), "log": "", "crashes": 0, "tasks": {"total": 0, "done": 0}, "usage": {},
    }  # fmt: skip
