"""Views of runs for tests of what people see."""

from __future__ import annotations

from typing import Any

from po_jupyter.model.run.view import RunView


def run_view(**changes: Any) -> RunView:
    """A running run without tasks, and with `changes`."""
    base: dict[str, Any] = {
        "id": "0190000000000000007f3a9c",
        "name": "first",
        "pipeline": "tickets",
        "version": "1.0.0",
        "state": "running",
        "created_at": "2026-11-22T12:00:00.000Z",
        "updated_at": "2026-11-22T12:00:20.000Z",
        "seed": {},
    }
    return RunView.model_validate({**base, **changes})
