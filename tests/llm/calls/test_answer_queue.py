"""The queue before the cache of answers, as runs of one process share it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from po_jupyter.llm.calls import answer_queue
from po_jupyter.llm.calls.answer_queue import AnswerQueue, CacheRow


class Answers:
    """A store in memory whose writes wait at a gate."""

    def __init__(self) -> None:
        self.rows: dict[str, Mapping[str, Any]] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.kept: list[list[str]] = []
        self.found: list[list[str]] = []
        self.closed = False

    def find(self, keys: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        self.found.append(list(keys))
        return {key: self.rows[key] for key in keys if key in self.rows}

    def keep(self, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        assert self.gate.wait(10)
        self.kept.append([key for key, _ in rows])
        self.rows.update(rows)

    def close(self) -> None:
        self.closed = True


async def test_lookups_of_several_runs_go_together() -> None:
    answers = Answers()
    answers.rows["a"] = {"text": "A"}
    queue = AnswerQueue(answers)
    assert await asyncio.gather(queue.find("a"), queue.find("b")) == [{"text": "A"}, None]
    assert answers.found == [["a", "b"]]
    await queue.aclose()
    assert answers.closed


async def test_a_flush_waits_for_what_was_kept_before_it_and_for_nothing_later() -> None:
    """One run's end must not wait for all that others go on to keep."""
    answers = Answers()
    queue = AnswerQueue(answers)
    queue.keep([("a", {})])
    answers.gate.clear()
    flushing = asyncio.create_task(queue.flush())
    await asyncio.sleep(0.01)
    queue.keep([("b", {})])
    assert not flushing.done()
    answers.gate.set()
    await asyncio.wait_for(flushing, 5)
    assert answers.kept[0] == ["a"]
    await queue.flush()
    assert answers.rows.keys() == {"a", "b"}
    await queue.flush()
    await queue.aclose()


async def test_no_call_waits_for_a_cache_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_queue, "_PATIENCE", 0.02)
    may_go_on = threading.Event()

    class Slow(Answers):
        def find(self, keys: Sequence[str]) -> Mapping[str, CacheRow]:
            may_go_on.wait(10)
            return super().find(keys)

    queue = AnswerQueue(Slow())
    async with asyncio.timeout(5):
        assert await queue.find("a") is None
        assert await queue.find("b") is None
    may_go_on.set()
    await queue.aclose()
