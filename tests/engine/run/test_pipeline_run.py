"""The run of a task's pipeline: its budget, and its log as its parent copies it."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.run.pipeline_run import RunCopy, outputs_of, resume
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Conflict, Moved
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.shard_record import ShardRecord
from tests.support.engine import RUN, Bench

RECORD: ShardRecord = {"run": RUN, "shard": 1, "rows": "", "number": 3, "merged": 1, "offset": 1}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    rows = {"name": "m", "for_each": "{{ seed.rows }}", "prompt": "say {{ item }}"}
    return Bench(tmp_path).create([rows, {"name": "z", "prompt": "end"}], {"rows": ["p", "q"]})


async def test_its_calls_are_calls_of_the_task_each_with_a_key_of_its_own(bench: Bench) -> None:
    assert await bench.go() == "done"
    copy = RunCopy(bench.store, "t", RECORD)
    head = bench.store.head(RUN)
    piece = copy.next_piece(head["n"])
    assert piece is not None
    assert (piece.n, copy.merged) == (head["n"], head["n"])
    assert copy.next_piece(head["n"]) is None
    keys = {call["key"] for call in piece.calls}
    assert len(keys) == 3
    assert all(key.startswith("t/-/3/0/") for key in keys)
    assert sorted(piece.payloads) == ["echo: end", "echo: say p", "echo: say q"]
    usage = read_history(bench.store, RUN).state.usage
    assert piece.usage["calls"] == usage.calls == 3
    assert piece.used == copy.spent
    again = RunCopy(bench.store, "t", {**RECORD, "merged": head["n"]})
    again.read_again()
    assert again.spent == copy.spent


async def test_its_outputs_are_those_of_the_tasks_that_are_done(bench: Bench) -> None:
    assert await bench.go() == "done"
    outputs = outputs_of(bench.store, RUN)
    assert outputs["z"] == "echo: end"
    assert [row["ok"] for row in outputs["m"]] == [True, True]


async def test_a_resume_happens_once(bench: Bench) -> None:
    bench.store.request(RUN, [draft("run.cancel_requested", by="me")])
    assert await bench.go() == "cancelled"
    outer = RunState("parent", request="req")
    resume(bench.store, "t", {**RECORD, "share": [None, 50]}, outer)
    state = read_history(bench.store, RUN).state
    assert (state.state, state.budget) == ("pending", {"tokens": 50})
    with pytest.raises((Conflict, Moved)):
        resume(bench.store, "t", RECORD, outer)
