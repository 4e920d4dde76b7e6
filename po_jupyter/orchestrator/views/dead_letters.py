"""Dead letters (R1.2): runs that exhausted their attempts, with all that somebody needs who looks for the
reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from po_jupyter.engine.state.decide import Start, decide
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.model.pipeline.pipeline import Pipeline


def letter(state: RunState, pipeline: Pipeline) -> dict[str, Any]:
    """One of them: which run, where it was, what happened last, and how often."""
    error = state.error or {}
    details = error.get("details") or {}
    at_work = [
        {"task": t.name, "stage": t.stage, "attempt": t.attempt}
        for t in state.tasks.values()
        if t.state == "failed" and t.error == state.error
    ]
    if not at_work:
        # It died before the start of a task was durable: then it was at what comes next.
        commands = decide(pipeline, replace(state, state="running"))
        starts = [c for c in commands if isinstance(c, Start)]
        at_work = [{"task": c.task, "stage": None, "attempt": c.attempt} for c in starts]
    first = at_work[0] if at_work else {"task": None, "stage": None, "attempt": None}
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
