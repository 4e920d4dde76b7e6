"""The log of a run in its worker: what is emitted is folded at once and durable with the next commit."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from po_jupyter.engine.base.interrupts import Stopped
from po_jupyter.engine.replay import run_log
from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.replay.run_log import RunLog
from po_jupyter.engine.state.fold import fold
from po_jupyter.errors import StaleFence
from po_jupyter.model.run.events import draft, event_draft
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.engine import RUN, new_run, wait_until


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def log(store: MemoryStore) -> RunLog:
    pipeline = new_run(store, {"name": "p", "tasks": [{"name": "a", "prompt": "a"}]}, {})
    return RunLog(store, store.claim(RUN, {"pid": 1}), read_history(store, RUN), pipeline)


def types(store: MemoryStore) -> list[str]:
    return [event["type"] for event in store.events(RUN)]


async def test_what_is_emitted_is_in_the_state_at_once_and_in_the_log_soon(log: RunLog, store: Any) -> None:
    log.emit(draft("task.started", "a", attempt=1))
    assert log.state.tasks["a"].state == "running"
    assert "task.started" not in types(store)
    await wait_until(lambda: "task.started" in types(store))


async def test_a_commit_takes_along_what_was_emitted_before_it(log: RunLog, store: Any) -> None:
    log.emit(draft("task.started", "a", attempt=1), state="running")
    await log.commit(draft("task.done", "a", output=0, seconds=0.1), payloads=("x",))
    assert types(store)[-2:] == ["task.started", "task.done"]
    assert store.head(RUN)["state"] == "running"
    output = log.state.tasks["a"].output
    assert output is not None and log.payload(output) == "x", "a reference, not the index of a payload"


async def test_a_queued_commit_tells_its_place(log: RunLog) -> None:
    places: list[Any] = []
    log.commit_soon(payloads=("x",), then=places.append)
    assert places == []
    await log.flush()
    assert log.payload(places[0].refs[0]) == "x"


async def test_what_others_write_wakes_the_executor(log: RunLog, store: Any) -> None:
    store.request(RUN, [draft("run.cancel_requested", by="me")])
    await log.refresh()
    assert log.state.cancel_requested and log.wake.is_set()


async def test_a_closed_log_has_what_was_emitted_and_an_abandoned_one_has_not(log: RunLog, store: Any) -> None:
    log.emit(draft("task.started", "a", attempt=1))
    log.close()
    with pytest.raises(Stopped):
        await log.commit()
    await log.aclose()
    assert types(store)[-1] == "task.started"
    again = RunLog(store, store.claim(RUN, {"pid": 2}), read_history(store, RUN), log.pipeline)
    again.emit(draft("task.stage", "a", stage="inference", round=0))
    again.abandon()
    await again.aclose()
    assert types(store)[-1] == "task.started"


async def test_a_run_that_somebody_else_claimed_breaks_the_log(log: RunLog, store: Any) -> None:
    store.claim(RUN, {"pid": 2})
    with pytest.raises(StaleFence):
        await log.commit(draft("task.started", "a", attempt=1))
    log.fail(RuntimeError("x"))
    await asyncio.wait_for(log.wake.wait(), 1)
    assert isinstance(log.broken, RuntimeError)


async def test_events_are_folded_when_somebody_looks(log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most come several between two looks; the pipeline and what is limited are asked for between any two."""
    folds: list[int] = []

    def counted(state: Any, events: Any) -> Any:
        folds.append(len(events))
        return fold(state, events)

    assert log.state.offset == 1
    monkeypatch.setattr(run_log, "fold", counted)
    for stage in ("one", "two", "three"):
        log.emit(draft("task.stage", "a", stage=stage, round=0))
        assert log.pipeline.tasks and log.run_state.owner is not None
    assert folds == []
    assert (log.state.tasks["a"].stage, log.state.offset) == ("three", 4)
    assert log.state is log.state
    assert folds == [3]
    log.emit(event_draft("run.held", None, None, {}))
    assert log.run_state.offset == 5, "an event of the run is in it at once"


async def test_whoever_looks_from_a_thread_sees_no_older_state_than_the_loop(log: RunLog) -> None:
    """A stage in a thread looks while the loop writes; neither sees a state that lacks what was there before."""
    stop = threading.Event()
    seen: list[int] = []

    def look() -> None:
        last = 0
        while not stop.is_set():
            offset = log.state.offset
            assert offset >= last
            last = offset
            seen.append(offset)

    looking = asyncio.get_running_loop().run_in_executor(None, look)
    for i in range(300):
        log.emit(draft("task.stage", "a", stage=f"s{i}", round=0))
        assert log.state.tasks["a"].stage == f"s{i}"
        await asyncio.sleep(0)
    stop.set()
    await looking
    assert seen
