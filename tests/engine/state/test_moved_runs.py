"""A run that is handed over: a tombstone here, another owner's there."""

from __future__ import annotations

from typing import Any

from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState


def state(*events: tuple[str, dict[str, Any]]) -> RunState:
    log = [{"offset": i, "at": f"t{i}", "type": kind, "data": data} for i, (kind, data) in enumerate(events, 1)]
    return fold(RunState("r", owner="me"), log)  # type: ignore[arg-type]


MOVED = ("run.moved", {"to": "shared", "group": "red", "by": "me", "sha256": "0", "from_state": "running"})


def test_what_moved_is_a_tombstone_until_it_is_refused() -> None:
    moved = state(("run.started", {}), MOVED)
    assert (moved.state, moved.moved) == (
        "moved",
        {"to": "shared", "group": "red", "by": "me", "accepted": False},
    )
    assert state(("run.started", {}), MOVED, ("run.move_accepted", {})).moved["accepted"] is True  # type: ignore[index]
    back = state(("run.started", {}), MOVED, ("run.move_refused", {"state": "running", "error": "no"}))
    assert (back.state, back.moved) == ("running", None)


def test_what_came_is_its_new_owners() -> None:
    came = state(
        ("run.started", {}),
        ("run.received", {"owner": "group:red", "from_owner": "me", "by": "me", "sha256": "0"}),
    )
    assert (came.state, came.owner) == ("running", "group:red")
