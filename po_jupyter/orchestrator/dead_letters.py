"""Dead letters (R1.2): runs that exhausted their attempts, with all that somebody needs who looks for the
reason."""

from __future__ import annotations

from typing import Any

from po_jupyter.engine.state import RunState


def letter(state: RunState) -> dict[str, Any]:
    """One of them: which run, where it was, what happened last, and how often."""
    error = state.error or {}
    details = error.get("details") or {}
    at_work = [t for t in state.tasks.values() if t.state == "failed" and t.error == state.error]
    task = at_work[0] if at_work else None
    return {
        "id": state.run,
        "name": state.name,
        "pipeline": state.pipeline,
        "version": state.version,
        "owner": state.owner,
        "created_at": state.created_at,
        "died_at": state.updated_at,
        "task": task.name if task else None,
        "stage": task.stage if task else None,
        "attempt": task.attempt if task else None,
        "at_work": [{"task": t.name, "stage": t.stage, "attempt": t.attempt} for t in at_work],
        "error": {**error, "details": {k: v for k, v in details.items() if k != "log"}},
        "log": details.get("log", ""),
        "crashes": details.get("crashes", state.crashes),
        "tasks": {"total": len(state.tasks), "done": sum(t.state == "done" for t in state.tasks.values())},
        "usage": state.usage.to_json(),
    }
