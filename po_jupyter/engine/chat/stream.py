"""`ctx.llm.stream`: an answer that is read piece by piece as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from queue import SimpleQueue
from typing import Any

from po_jupyter.engine.chat.starter import CallStarter
from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.answer import Answer

Start = Callable[..., Coroutine[Any, Any, Answer]]  # with `on_text`, which gets the pieces


class Stream:
    """The pieces of one answer, read once. Nothing is sent before the first is read.

    `text` is what came so far. A connection that breaks is tried again, and an answer that does not fit its schema
    asked for again: then the text begins anew (`text` is empty, `restarts` counts it), and so do the pieces. A call
    that the journal knows comes as one piece. When reading stops early the call goes on until the stage ends, which
    stops it: its outcome is then unknown, and it may be billed.
    """

    def __init__(self, starter: CallStarter, start: Start) -> None:
        """The stream of the call that `start(on_text=...)` makes."""
        self._starter = starter
        self._begin = start
        self._started = False
        self._answer: Answer | None = None
        self._error: BaseException | None = None
        self._pieces: Iterator[str] | None = None
        self.text = ""
        self.restarts = 0

    def _open(self) -> None:
        if self._started:
            raise InvalidInput("a stream is read once; its `answer` stays")
        self._started = True

    def _note_piece(self, piece: str) -> bool:
        """Add a piece to the text; whether it is one to hand over."""
        if piece:
            self.text += piece
        elif self.text:
            self.text = ""
            self.restarts += 1
        return bool(piece)

    def __iter__(self) -> Iterator[str]:
        """The pieces, in a sync stage."""
        if self._starter.on_loop:
            raise InvalidInput("in an async stage a stream is read with `async for`")
        self._open()
        self._pieces = self._read()
        return self._pieces

    def _read(self) -> Iterator[str]:
        pieces: SimpleQueue[str | None] = SimpleQueue()
        future = self._starter.submit(self._begin(on_text=pieces.put))
        future.add_done_callback(lambda _: pieces.put(None))
        while (piece := pieces.get()) is not None:
            if self._note_piece(piece):
                yield piece
        self._answer = self._starter.wait(future)

    async def __aiter__(self) -> AsyncIterator[str]:
        """The pieces, in an async stage."""
        self._open()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        task = self._starter.start(self._begin(on_text=pieces.put_nowait))
        task.add_done_callback(lambda _: pieces.put_nowait(None))
        while (piece := await pieces.get()) is not None:
            if self._note_piece(piece):
                yield piece
        self._answer = await task

    def __await__(self) -> Generator[Any, None, Answer]:
        """Read to the end: the whole answer."""
        return self._whole().__await__()

    async def _whole(self) -> Answer:
        if self._answer is None:
            async for _ in self:
                pass
        return self.answer

    @property
    def answer(self) -> Answer:
        """The whole answer. In a sync stage what was not read yet is waited for."""
        if self._answer is None and not self._starter.on_loop:
            for _ in self._pieces if self._pieces is not None else self:
                pass
        if self._answer is None:
            raise InvalidInput("the stream was not read to its end", hint="`await stream` gives its answer.")
        return self._answer
