"""The frame of an attempt: flags keep their type, the clock of a stage can be moved."""

from __future__ import annotations

import pytest

from po_jupyter.engine.base.deadline import Deadline
from po_jupyter.engine.lifecycle.frame import Flags, Frame
from po_jupyter.errors import StageFailed
from po_jupyter.model.pipeline.pipeline import Task


def test_a_flag_keeps_its_type() -> None:
    flags = Flags()
    flags["done"] = False
    flags["done"] = None
    flags["done"] = True
    flags.update(count=1)
    assert flags.setdefault("count", 5) == 1
    for name, value in (("done", 1), ("count", "1")):
        with pytest.raises(StageFailed, match="was set to"):
            flags[name] = value


async def test_without_a_running_stage_there_is_no_clock_to_move() -> None:
    frame = Frame(Task(name="t", prompt="x"))
    frame.extend(5)
    with frame.waiting():
        pass
    frame.deadline = Deadline(0.01)
    async with frame.deadline:
        frame.extend(60)
    assert not frame.deadline.expired()
