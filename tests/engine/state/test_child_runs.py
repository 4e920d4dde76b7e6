"""Child runs in the state of their task, as the events of them say it."""

from __future__ import annotations

from typing import Any

from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState


def folded(*events: tuple[str, dict[str, Any]]) -> RunState:
    numbered: list[Any] = [
        {"type": kind, "task": "t", "item": None, "data": data, "at": "t1", "offset": i}
        for i, (kind, data) in enumerate(events, 1)
    ]
    return fold(RunState("r"), numbered)


PLANNED = (
    "shards.planned",
    {"number": 1, "shards": [{"run": "c", "shard": 1, "rows": "", "share": [1.0, None]}]},
)
ENDED = ("shard.ended", {"run": "c", "state": "failed", "error": {"code": "x"}})


def test_a_child_run_is_open_until_it_has_ended() -> None:
    state = folded(PLANNED, ("shard.merged", {"run": "c", "n": 4}))
    assert state.open_shards == ["t"]
    assert state.tasks["t"].shards["c"]["merged"] == 4
    assert folded(PLANNED, ENDED).open_shards == []
    assert folded(PLANNED, ENDED).tasks["t"].shards["c"]["error"] == {"code": "x"}


def test_what_it_used_is_that_of_the_task() -> None:
    state = folded(PLANNED, ("shard.merged", {"run": "c", "n": 4, "usage": {"calls": 2, "input_tokens": 7}}))
    assert (state.usage.calls, state.usage.input_tokens) == (2, 7)


def test_one_that_goes_on_is_open_again_and_keeps_how_far_it_was_read() -> None:
    merged = ("shard.merged", {"run": "c", "n": 4})
    state = folded(
        PLANNED, merged, ENDED, ("shard.reopened", {"run": "c", "number": 2, "n": 4, "share": [3.0, None]})
    )
    assert state.tasks["t"].open_shards == [
        {
            "run": "c",
            "shard": 1,
            "rows": "",
            "number": 2,
            "merged": 4,
            "offset": 1,
            "reopened": 4,
            "share": [3.0, None],
        }
    ]


def test_what_is_said_of_a_run_that_nobody_planned_changes_nothing() -> None:
    others = [("shard.merged", {"run": "x", "n": 1, "usage": {"calls": 1}}), ENDED]
    state = folded(*others, ("shard.reopened", {"run": "x", "number": 2, "n": 4}))
    assert state.tasks["t"].shards == {}
    assert state.usage.calls == 0
