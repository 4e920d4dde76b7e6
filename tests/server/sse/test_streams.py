"""P8: streams resume from any offset, lose nothing, and are given back when their reader goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from po_jupyter.client.http.sse import Parser, SseMessage
from po_jupyter.model.run.view import RunView
from po_jupyter.server import activity
from po_jupyter.server.sse import streams as stream
from tests.support.fake_orchestrator import FakeOrchestrator
from tests.support.jupyter_process import JupyterProcess, body

pytestmark = pytest.mark.integration  # waits: it takes seconds


@pytest.fixture
async def orchestrator() -> AsyncGenerator[FakeOrchestrator, None]:
    fake = FakeOrchestrator(SimpleNamespace(data_dir="."))
    yield fake
    await fake.stop()


async def started(orchestrator: FakeOrchestrator, owner: str = "ann", **more: Any) -> RunView:
    view, _ = await orchestrator.submissions.submit(body(**more), owner=owner)
    return view


async def read(source: AsyncGenerator[bytes, None], until: str, most: int = 200) -> list[SseMessage]:
    """Messages up to and with the first called `until`."""
    parser, found = Parser(), []
    async for part in source:
        for message in parser.feed(part):
            found.append(message)
            if message.event == until or len(found) == most:
                return found
    return found


async def test_a_run_is_told_from_its_first_event_to_its_end(orchestrator: FakeOrchestrator) -> None:
    """P8: offsets without gaps, texts in between without an offset, then `end`."""
    run = await started(orchestrator, steps=3)
    async with aclosing(stream.run_events(orchestrator, run, "ann", 0)) as source:
        messages = await read(source, "end")
    stored = [message for message in messages if message.id is not None]
    assert [message.id for message in stored] == list(range(1, len(stored) + 1))
    assert [message.event for message in stored][:2] == ["run.created", "run.started"]
    assert all(message.data["offset"] == message.id for message in stored)
    texts = [message for message in messages if message.event == "text"]
    assert texts
    assert all(message.id is None and message.data["text"] == "wo\u2028rd" for message in texts)
    assert messages[-1] == SseMessage("end", {"state": "done"})
    assert not orchestrator.changes.open


@pytest.mark.parametrize("since", [0, 1, 3, 5, 6, 99])
async def test_a_stream_resumes_after_any_offset(orchestrator: FakeOrchestrator, since: int) -> None:
    """P8: `since` is exclusive; an ended run ends the stream at once."""
    run = await started(orchestrator, steps=3)
    async with aclosing(stream.run_events(orchestrator, run, "ann", 0)) as source:
        await read(source, "end")
    async with asyncio.timeout(2), aclosing(stream.run_events(orchestrator, run, "ann", since)) as source:
        messages = await read(source, "end")
    assert [m.id for m in messages if m.id is not None] == list(range(since + 1, 7))
    assert messages[-1].event == "end"


async def test_an_end_that_was_resumed_is_no_end(orchestrator: FakeOrchestrator) -> None:
    """A stream goes on when the run does."""
    run = await started(orchestrator)
    await orchestrator.control.cancel(run.id, "ann")
    await orchestrator.control.resume(run.id, "ann")
    async with aclosing(stream.run_events(orchestrator, run, "ann", 0)) as source:
        reader = asyncio.create_task(read(source, "end"))
        await asyncio.sleep(0.1)
        assert not reader.done()
        await orchestrator.control.cancel(run.id, "ann")
        messages = await asyncio.wait_for(reader, 2)
    assert [m.event for m in messages if m.id] == [
        "run.created",
        "run.cancelled",
        "run.resumed",
        "run.cancelled",
    ]


async def test_a_lost_hint_loses_nothing(
    orchestrator: FakeOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1: the next ping looks at the store again."""
    monkeypatch.setattr(stream, "PING_EVERY", 0.05)
    run = await started(orchestrator)
    monkeypatch.setattr(orchestrator.changes, "publish", lambda kind, run, **data: None)
    async with aclosing(stream.run_events(orchestrator, run, "ann", 0)) as source:
        reader = asyncio.create_task(read(source, "end"))
        await asyncio.sleep(0.02)
        await orchestrator.control.cancel(run.id, "ann")
        assert (await asyncio.wait_for(reader, 2))[-1].event == "end"


async def test_a_deleted_run_is_gone(orchestrator: FakeOrchestrator) -> None:
    """The reader is told instead of waiting for ever."""
    run = await started(orchestrator)
    async with aclosing(stream.run_events(orchestrator, run, "ann", 0)) as source:
        reader = asyncio.create_task(read(source, "gone"))
        await asyncio.sleep(0.02)
        orchestrator.log.emit(run.id, "x", state="done")
        await orchestrator.control.delete(run.id, "ann")
        assert (await asyncio.wait_for(reader, 2))[-1] == SseMessage("gone", {"id": run.id})


async def test_my_runs_are_told_and_nobody_elses(orchestrator: FakeOrchestrator) -> None:
    """P5: snapshot, changes, texts and deletions of my runs; of others not even an id."""
    mine = await started(orchestrator)
    other = await started(orchestrator, owner="ben", steps=2)
    async with aclosing(stream.all_runs(orchestrator, "ann")) as source:
        reader = asyncio.create_task(read(source, "gone"))
        await asyncio.sleep(0.02)
        late = await started(orchestrator, steps=2)
        await asyncio.sleep(0.3)
        await orchestrator.control.cancel(mine.id, "ann")
        await orchestrator.control.delete(mine.id, "ann")
        messages = await asyncio.wait_for(reader, 3)
    assert messages[0].event == "snapshot"
    assert [run["id"] for run in messages[0].data["runs"]] == [mine.id]
    assert other.id not in json.dumps([m.data for m in messages])
    views = [m.data["run"] for m in messages if m.event == "run"]
    assert [v["state"] for v in views if v["id"] == late.id][-1] == "done"
    assert any(m.event == "text" and m.data["run"] == late.id for m in messages)
    assert messages[-1] == SseMessage("gone", {"id": mine.id})


@pytest.mark.integration
async def test_a_busy_run_is_told_at_most_five_times_a_second(orchestrator: FakeOrchestrator) -> None:
    """HTTP.md: changes of one run are put together, and the last one is always told."""
    run = await started(orchestrator)
    async with aclosing(stream.all_runs(orchestrator, "ann")) as source:
        seen: list[int] = []

        async def collect() -> None:
            parser = Parser()
            async for part in source:
                for message in parser.feed(part):
                    if message.event == "run":
                        seen.append(message.data["run"]["last_event"])

        reader = asyncio.create_task(collect())
        await asyncio.sleep(0.01)
        for _ in range(100):
            orchestrator.log.emit(run.id, "task.stage")
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.3)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    assert len(seen) <= 7
    assert seen[-1] == 101


async def test_silence_is_filled_with_pings(
    orchestrator: FakeOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies do not cut a quiet stream."""
    monkeypatch.setattr(stream, "PING_EVERY", 0.02)
    run = await started(orchestrator)
    for source in (stream.run_events(orchestrator, run, "ann", 1), stream.all_runs(orchestrator, "ann")):
        async with asyncio.timeout(2), aclosing(source):
            pings = 0
            async for part in source:
                pings += part == b": ping\n\n"
                if pings == 3:
                    break


def test_last_event_id_weighs_more_than_since(jupyter: JupyterProcess) -> None:
    """P8: a browser that reconnects sends its first URL again, and the id it has seen."""
    with jupyter.http() as http:
        run = http.post("runs", json=body(steps=2)).json()["run"]["id"]
        path = f"runs/{run}/events"
        whole = list(messages_of(http.get(path)))
        assert whole[-1].event == "end"
        part = messages_of(http.get(path, params={"since": 0}, headers={"Last-Event-ID": "3"}))
        assert [m.id for m in part if m.id] == [m.id for m in whole if m.id and m.id > 3]
        assert http.get(path, headers={"Last-Event-ID": "abc"}).status_code == 400
        page = http.get(path, params={"since": 2, "limit": 2}, headers={"Accept": "application/json"})
        assert [event["offset"] for event in page.json()["events"]] == [3, 4]


def test_a_stream_is_not_buffered_nor_packed(jupyter: JupyterProcess) -> None:
    """The first event is there before the run ends, whatever stands in between."""
    with jupyter.http() as http:
        run = http.post("runs", json=body()).json()["run"]["id"]
        with http.stream("GET", f"runs/{run}/events", headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["x-accel-buffering"] == "no"
            assert "no-cache" in answer.headers["cache-control"]
            assert answer.headers.get("content-encoding", "identity") == "identity"
            parser = Parser()
            first = next(m for part in answer.iter_bytes() for m in parser.feed(part))
            assert first.event == "run.created"


def test_a_reader_that_goes_leaves_nothing_behind(jupyter: JupyterProcess) -> None:
    """A closed tab gives its subscription back."""
    with jupyter.http() as http:
        run = http.post("runs", json=body()).json()["run"]["id"]
        for _ in range(5):
            with http.stream("GET", f"runs/{run}/events") as answer:
                next(answer.iter_bytes())
        for _ in range(100):
            open_now = http.get("meta").json()["subscriptions"]
            if open_now == 0:
                break
        assert open_now == 0


def messages_of(answer: httpx.Response) -> list[SseMessage]:
    return Parser().feed(answer.content)


async def test_activity_is_reported_while_runs_live() -> None:
    """FINDINGS: without it a background run is culled."""
    times: dict[str, datetime] = {}
    live = 0
    task = asyncio.create_task(activity.report(times, lambda: live, every=0.01))
    await asyncio.sleep(0.03)
    assert times == {}
    live = 1
    before = datetime.now(UTC)
    await asyncio.sleep(0.05)
    assert times[activity.NAME] >= before
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_our_own_polling_is_not_activity(jupyter: JupyterProcess) -> None:
    """Jupyter's convention: `?no_track_activity=1` does not keep a server awake."""
    status = httpx.URL(jupyter.url).join("api/status")
    with jupyter.http() as http:

        def last() -> str:
            return str(http.get(str(status), params={"no_track_activity": "1"}).json()["last_activity"])

        http.get("health")
        before = last()
        http.get("health", params={"no_track_activity": "1"})
        assert last() == before
        http.get("health")
        assert last() > before
