"""Turns: what a run does names it in the turn file, on the loop and in threads, and nothing else does."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.base.threads import Threads
from po_jupyter.ipc.turn_file import TurnFile, Turns, read_turns
from po_jupyter.worker import turns
from po_jupyter.worker.turns import RunTurn, TurnLoop, begin

pytestmark = pytest.mark.integration  # it works for a second


class House:
    """A loop of turns with one run on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = TurnLoop()
        self.file = TurnFile(path)
        self.long: list[float] = []
        self.turn = RunTurn(self.loop, self.file, "r", self.long.append)

    def look(self) -> Turns:
        return read_turns(self.path)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """The result of a coroutine of the run."""
        context = contextvars.copy_context()
        context.run(begin, self.turn)
        task = self.loop.create_task(coroutine, context=context)
        return self.loop.run_until_complete(task)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "turns-1")
    yield house
    house.loop.close()
    house.file.close()


def test_each_step_of_the_run_and_of_tasks_that_it_starts_is_its_turn(house: House) -> None:
    seen: list[str | None] = []

    async def part() -> None:
        seen.append(house.look().run)
        await asyncio.sleep(0)
        seen.append(house.look().run)
        raise ValueError("as usual")

    async def whole() -> None:
        seen.append(house.look().run)
        with pytest.raises(ValueError, match="as usual"):
            await asyncio.create_task(part())
        await asyncio.gather(asyncio.sleep(0), asyncio.to_thread(int))

    house.run(whole())
    assert seen == ["r", "r", "r"]
    assert house.look().run is None, "nobody's when nothing runs"
    assert house.look().step > 4


def test_a_cancelled_task_leaves_the_turn_as_well(house: House) -> None:
    async def whole() -> str | None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return house.look().run
        return ""

    async def outer() -> Any:
        task = asyncio.create_task(whole())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert house.run(outer()) == "r"
    assert house.look().run is None


def test_who_belongs_to_no_run_is_nobodys_turn(house: House) -> None:
    async def other() -> str | None:
        return house.look().run

    assert house.loop.run_until_complete(other()) is None


def test_jobs_in_threads_are_counted_until_they_end(house: House) -> None:
    threads = Threads()

    async def whole() -> tuple[Turns, Turns]:
        return await asyncio.to_thread(house.look), await threads.run(house.look)

    first, second = house.run(whole())
    assert first.in_threads == second.in_threads == {"r"}
    assert house.look().in_threads == frozenset()
    threads.close()


def work(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def test_a_step_and_a_job_that_work_for_long_are_reported_and_waits_are_not(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "LONG", 0.1)
    monkeypatch.setattr(turns, "HEAVY", 0.05)

    async def sleeps() -> None:
        await asyncio.sleep(0.2)
        await asyncio.to_thread(time.sleep, 0.2)

    async def works() -> None:
        work(0.15)
        await asyncio.sleep(0)

    async def in_thread() -> None:
        await asyncio.to_thread(work, 0.15)
        await asyncio.sleep(0)

    house.run(sleeps())
    assert house.long == []
    house.run(works())
    assert len(house.long) == 1
    house.run(in_thread())
    assert len(house.long) == 2


def test_steps_that_are_heavy_together_and_a_job_that_goes_on_are_reported_while_they_do(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step alone is short: a run that works through an endless answer holds up the others all the same."""
    monkeypatch.setattr(turns, "LONG", 0.3)
    monkeypatch.setattr(turns, "HEAVY", 0.05)
    monkeypatch.setattr(turns, "_SAMPLE", 0.05)

    async def steps() -> None:
        for _ in range(6):
            work(0.1)
            await asyncio.sleep(0)

    async def job() -> None:
        going_on = asyncio.create_task(asyncio.to_thread(work, 1.5))
        while not house.long:
            assert not going_on.done()
            await asyncio.sleep(0.01)
        await going_on

    house.run(steps())
    assert house.long
    house.long.clear()
    house.run(job())
    assert len(house.long) == 1, "once"


def test_a_run_that_left_names_nobody(house: House) -> None:
    async def whole() -> str | None:
        house.turn.release()
        house.turn.release()
        await asyncio.sleep(0)
        return house.look().run

    assert house.run(whole()) is None
