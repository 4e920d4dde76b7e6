"""Who did what with a run."""

from __future__ import annotations

from po_jupyter.engine.state.acts import noting
from po_jupyter.engine.state.run_state import RunState, TaskState


def test_the_last_acts_are_noted_where_the_event_says_who() -> None:
    done: list[object] = []
    rule = noting("resumed", lambda s, data, at, offset, task_of: done.append(data))
    s = RunState("r")
    for by, data in ((None, {"reset": []}), ("a", {}), *((str(n), {"reset": []}) for n in range(9))):
        rule(s, {**data, "by": by}, "t", 1, TaskState)
    assert len(done) == 11
    assert [act["by"] for act in s.acts] == ["4", "5", "6", "7", "8"]
    assert s.acts[0] == {"act": "resumed", "by": "4", "at": "t"}
