"""A stream: pieces of one answer, read once, in a stage of a run and by itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from po_jupyter.engine.chat.starter import CallStarter
from po_jupyter.engine.chat.stream import Stream
from po_jupyter.errors import ModelUnavailable
from po_jupyter.model.run.answer import Answer
from tests.engine.chat.test_task_llm import output, task
from tests.support.engine import Bench


class Call:
    """A call whose answer comes in these pieces; `""` is a try that broke. `starts` counts how often it was made."""

    def __init__(self, *pieces: str, error: Exception | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.starts = 0

    async def __call__(self, *, on_text: Any) -> Answer:
        self.starts += 1
        for piece in self.pieces:
            on_text(piece)
            await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return Answer("".join(self.pieces))

    def stream(self) -> Stream:
        return Stream(CallStarter(), self)


async def test_nothing_is_sent_before_the_first_piece_is_read() -> None:
    call = Call("one", " two")
    stream = call.stream()
    assert call.starts == 0
    assert [piece async for piece in stream] == ["one", " two"]
    assert (await stream).text == stream.answer.text == stream.text == "one two"
    assert call.starts == 1


async def test_the_answer_of_a_sync_stage_waits_for_what_was_not_read_yet() -> None:
    call = Call("one", "", "two", " three")
    stream = call.stream()

    def stage() -> tuple[str, str]:
        first = next(iter(stream))
        return first, stream.answer.text

    first, whole = await asyncio.to_thread(stage)
    assert (first, whole, stream.text, stream.restarts) == ("one", "onetwo three", "two three", 1)
    assert call.starts == 1


async def test_a_try_that_broke_before_its_first_piece_is_no_restart() -> None:
    stream = Call("", "whole").stream()
    await stream
    assert (stream.text, stream.restarts) == ("whole", 0)


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_an_error_is_raised_where_the_pieces_end(way: str) -> None:
    """P11: half an answer is not taken for a whole one."""
    stream = Call("half", error=ModelUnavailable("down")).stream()
    read: list[str] = []
    with pytest.raises(ModelUnavailable, match="down"):
        if way == "sync":
            await asyncio.to_thread(lambda: read.extend(stream))
        else:
            async for piece in stream:
                read.append(piece)
    assert stream.text == "half"


async def test_a_stream_that_breaks_begins_anew_and_says_so(bench: Bench) -> None:
    """P7: the retry is one layer below; what was read of the broken answer is not mixed with the next."""

    class Broken(type(bench.fake)):
        async def chat(self, request: Any, *, on_text: Any = None) -> Any:
            if not self.requests:
                self.requests.append(request)
                on_text("half an ")
                raise ModelUnavailable("the connection broke")
            return await super().chat(request, on_text=on_text)

    code = """
def ingestion(ctx):
    stream = ctx.llm.stream("x")
    pieces = list(stream)
    return [pieces, stream.text, stream.restarts, stream.answer.text]
"""
    bench.create([task(code, llm={"retry": {"initial_delay": 0}})])
    bench.fake = Broken()
    assert await output(bench) == [["half an ", "echo:", " x"], "echo: x", 1, "echo: x"]


async def test_a_stream_is_read_once_and_an_async_stage_reads_it_async(bench: Bench) -> None:
    code = """
async def ingestion(ctx):
    said = []
    stream = ctx.llm.stream("x")
    for act in (lambda: list(stream), lambda: stream.answer):
        try:
            act()
        except Exception as error:
            said.append(str(error))
    await stream
    try:
        [piece async for piece in stream]
    except Exception as error:
        said.append(str(error))
    return said
"""
    bench.create([task(code)])
    said = await output(bench)
    assert "async for" in said[0] and "not read to its end" in said[1] and "read once" in said[2]
    assert len(bench.fake.requests) == 1


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_stream_that_nobody_reads_to_its_end_holds_nothing_up(bench: Bench, way: str) -> None:
    code = """
async def ingestion(ctx):
    async for piece in ctx.llm.stream("one two three"):
        return piece
"""
    bench.create([task(code if way == "async" else code.replace("async ", ""))])
    assert await output(bench) == "echo:"
    assert bench.state.usage.calls == 1
