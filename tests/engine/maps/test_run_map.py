"""A map over its parts: rows, retries and stops, without the executor of a run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.maps.run_map import run_map
from po_jupyter.errors import BudgetExceeded, ModelRefused
from po_jupyter.llm.chat import ChatRequest
from tests.support.maps import map_parts


async def run(parts: MapParts) -> Any:
    return await run_map(parts, parts.log.pipeline.task("m"), 1)


async def test_every_row_gets_an_outcome(tmp_path: Path) -> None:
    parts = map_parts(tmp_path, ["a", "b", "c"])
    assert await run(parts) == {"$map": "m", "total": 3}
    await parts.log.flush()
    table = parts.history.table("m")
    assert [parts.log.payload(table[i].output or ()) for i in range(3)] == ["echo: a", "echo: b", "echo: c"]
    assert all(calls.kept for _, _, calls in parts.calls.made)


async def test_a_row_is_tried_again_under_another_number(tmp_path: Path) -> None:
    tries: Counter[str] = Counter()

    def answer(request: ChatRequest) -> str:
        tries[request.messages[-1].content] += 1
        if tries["a"] == 1:
            raise ValueError("later")
        return "x"

    parts = map_parts(tmp_path, ["a"], answer, retry={"initial_delay": 0})
    await run(parts)
    assert [(row, attempt) for row, attempt, _ in parts.calls.made] == [(0, 101), (0, 102)]
    assert parts.calls.made[0][2].dropped == 1
    assert parts.history.table("m").done == 1


async def test_an_error_that_no_row_can_escape_leaves_rows_open(tmp_path: Path) -> None:
    def answer(request: ChatRequest) -> str:
        raise BudgetExceeded("spent")

    parts = map_parts(tmp_path, range(10), answer, max_concurrency=1)
    with pytest.raises(BudgetExceeded):
        await run(parts)
    assert len(parts.history.table("m")) == 0
    assert len(parts.calls.made) == 1


async def test_a_drain_starts_no_further_row(tmp_path: Path) -> None:
    def answer(request: ChatRequest) -> str:
        parts.boundary.drain()
        return "x"

    parts = map_parts(tmp_path, range(5), answer, max_concurrency=1)
    with pytest.raises(Drained):
        await run(parts)
    assert len(parts.calls.made) <= 2


async def test_a_refused_row_fails_alone(tmp_path: Path) -> None:
    def answer(request: ChatRequest) -> str:
        if request.messages[-1].content == "1":
            raise ModelRefused("no")
        return "x"

    parts = map_parts(tmp_path, range(3), answer, failure_threshold=0.5)
    await run(parts)
    assert [parts.history.table("m")[i].ok for i in range(3)] == [True, False, True]
