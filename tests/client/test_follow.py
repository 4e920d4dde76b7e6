"""Following a run over a transport in memory: how often it is read, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import pytest

from po_jupyter.client.follow import RunStreams, TextDelta
from po_jupyter.client.http.sse import SseMessage
from po_jupyter.errors import NotFound, Unavailable
from po_jupyter.model.run.view import RunView
from tests.support.runs import run_view

RUN = run_view()


class FakeTransport:
    """Answers with the views in order, the last one for ever; each stream gives one list of messages."""

    def __init__(self, views: list[RunView], *streams: list[SseMessage | Exception]) -> None:
        self.views = views
        self.streams = list(streams)
        self.reads = 0
        self.since: list[object] = []

    async def json(self, method: str, path: str, *, params: Mapping[str, str]) -> dict[str, Any]:
        view = self.views[min(self.reads, len(self.views) - 1)]
        self.reads += 1
        return {"run": view.model_dump(mode="json")}

    async def stream(
        self, path: str, params: Callable[[], Mapping[str, object]]
    ) -> AsyncGenerator[SseMessage, None]:
        self.since.append(params()["since"])
        for message in self.streams.pop(0) if self.streams else []:
            if isinstance(message, Exception):
                raise message
            yield message
            await asyncio.sleep(0)
        await asyncio.sleep(60)


def streams(transport: FakeTransport) -> RunStreams:
    return RunStreams(transport)


def event(offset: int) -> SseMessage:
    return SseMessage("task.started", {"offset": offset}, offset)


END = SseMessage("end", {})


async def followed(transport: FakeTransport, every: float = 0.01) -> list[RunView | TextDelta]:
    async with asyncio.timeout(5), aclosing(streams(transport).follow(RUN.id, every=every)) as values:
        return [value async for value in values]


async def test_many_events_are_one_new_view() -> None:
    """The interval bounds the reads; the end is not held back by it."""
    transport = FakeTransport([run_view(), run_view(state="done")], [*(event(n) for n in range(1, 50)), END])
    values = await followed(transport, every=30)
    assert [value.state for value in values if isinstance(value, RunView)] == ["running", "done"]
    assert transport.reads == 2


async def test_an_ended_run_is_shown_once_and_its_stream_left_alone() -> None:
    transport = FakeTransport([run_view(state="failed")])
    assert len(await followed(transport)) == 1
    assert transport.since == []


async def test_texts_come_in_between() -> None:
    text = SseMessage("text", {"task": "label", "item": 3, "text": "hel", "round": 1})
    transport = FakeTransport([run_view(), run_view(state="done")], [text, END])
    values = await followed(transport)
    assert TextDelta(RUN.id, "label", 3, "hel", 1) in values


async def test_a_run_that_was_resumed_after_its_end_is_followed_on() -> None:
    """The stream's end and the answer to the next read may tell of different moments."""
    transport = FakeTransport(
        [run_view(), run_view(last_event=7), run_view(state="done")], [event(1), END], [event(8), END]
    )
    values = await followed(transport)
    assert [value.state for value in values if isinstance(value, RunView)] == ["running", "running", "done"]
    assert transport.since == [0, 7]


async def test_a_run_that_is_deleted_meanwhile_is_told() -> None:
    transport = FakeTransport([run_view()], [SseMessage("gone", {})])
    with pytest.raises(NotFound, match="deleted while it was followed"):
        await followed(transport)


async def test_the_error_of_the_stream_is_raised() -> None:
    transport = FakeTransport([run_view()], [event(1), Unavailable("lost")])
    with pytest.raises(Unavailable, match="lost"):
        await followed(transport, every=30)


async def test_events_are_in_order_and_none_comes_twice() -> None:
    """P8: a stream that was opened again may begin before the last offset that was seen."""
    transport = FakeTransport([], [event(3), event(4), event(4), event(5), END])
    async with aclosing(streams(transport).events(RUN.id, 3)) as messages:
        assert [message.id async for message in messages] == [4, 5, None]


async def test_the_end_is_waited_for_over_more_than_one_stream() -> None:
    transport = FakeTransport([run_view(), run_view(), run_view(state="cancelled")], [END], [END])
    assert (await streams(transport).wait_end(RUN.id)).state == "cancelled"
