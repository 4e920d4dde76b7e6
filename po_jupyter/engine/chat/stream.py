"""`ctx.llm.stream` and `ctx.llm.chain`: an answer that is read as it comes, and a conversation that remembers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Unpack

from po_jupyter.engine.chat.question import ChatOptions, Question, check_names, messages_of, question_of
from po_jupyter.errors import InvalidInput
from po_jupyter.llm.chat import Message
from po_jupyter.model.run.answer import Answer

if TYPE_CHECKING:
    from po_jupyter.engine.chat.task_llm import TaskLlm

Start = Callable[..., Coroutine[Any, Any, Answer]]


class Stream:
    """The pieces of one answer, read once. Nothing is sent before the first is asked for.

    `text` is what came so far. A connection that breaks is tried again, and an answer that does not fit its schema
    asked for again: then the text begins anew (`text` is empty, `restarts` counts it), and so do the pieces. A call
    that the journal knows comes as one piece. Whoever stops reading leaves the call to go
    on until the stage ends, which stops it: its outcome is then unknown, and it may be billed.
    """

    def __init__(self, llm: TaskLlm, start: Start) -> None:
        self._llm = llm
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

    def _take(self, piece: str) -> bool:
        """Note a piece; whether it is one to hand over."""
        if piece:
            self.text += piece
        elif self.text:
            self.text = ""
            self.restarts += 1
        return bool(piece)

    def __iter__(self) -> Iterator[str]:
        if self._llm._on_loop:
            raise InvalidInput("in an async stage a stream is read with `async for`")
        self._open()
        self._pieces = self._read()
        return self._pieces

    def _read(self) -> Iterator[str]:
        pieces: SimpleQueue[str | None] = SimpleQueue()
        future = self._llm._submit(self._begin(on_text=pieces.put))
        future.add_done_callback(lambda _: pieces.put(None))
        while (piece := pieces.get()) is not None:
            if self._take(piece):
                yield piece
        self._answer = self._llm._wait(future)

    async def __aiter__(self) -> AsyncIterator[str]:
        self._open()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        task = self._llm._start(self._begin(on_text=pieces.put_nowait))
        task.add_done_callback(lambda _: pieces.put_nowait(None))
        while (piece := await pieces.get()) is not None:
            if self._take(piece):
                yield piece
        self._answer = await task

    def __await__(self) -> Generator[Any, None, Answer]:
        return self._whole().__await__()

    async def _whole(self) -> Answer:
        if self._answer is None:
            async for _ in self:
                pass
        return self.answer

    @property
    def answer(self) -> Answer:
        """The whole answer. In a sync stage what was not read yet is waited for."""
        if self._answer is None and not self._llm._on_loop:
            for _ in self._pieces if self._pieces is not None else self:
                pass
        if self._answer is None:
            raise InvalidInput("the stream was not read to its end", hint="`await stream` gives its answer.")
        return self._answer


class Chain:
    """A conversation. A question that fails leaves it as it was."""

    def __init__(
        self,
        llm: TaskLlm,
        messages: Sequence[Mapping[str, Any]],
        options: Mapping[str, Any],
    ) -> None:
        self._llm = llm
        self._options = {name: value for name, value in options.items() if name != "system"}
        system = options.get("system")
        self._turns = messages_of(messages) if messages else ()
        if system is not None:
            if any(turn.role == "system" for turn in self._turns):
                raise InvalidInput("the messages have a system message already")
            if not isinstance(system, str):
                raise InvalidInput(f"`system` is text, not {type(system).__name__}")
            self._turns = (Message("system", system), *self._turns)
        self._asking = False

    def __repr__(self) -> str:
        return f"<chain of {len(self._turns)} messages>"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The turns so far as JSON, those of tools too; `ctx.llm.chain(messages=...)` goes on from them."""
        return [turn.to_json() for turn in self._turns]

    def ask(self, prompt: str | Sequence[Mapping[str, Any]], **options: Unpack[ChatOptions]) -> Any:
        """The `Answer` to the next question, with everything said before. `options` as in `chat`."""
        check_names(options)
        if "system" in options:
            raise InvalidInput("`system` belongs to the chain: ctx.llm.chain(system=...)")
        turns = [*self.messages, *(turn.to_json() for turn in messages_of(prompt))]
        question = question_of(self._llm._calls, turns, {**self._options, **options})
        return self._llm._here_or_there(self._ask(question))

    async def _ask(self, question: Question) -> Answer:
        if self._asking:
            raise InvalidInput(
                "the chain is being asked already",
                hint="One question after the other; ctx.llm.parallel asks many that do not know of each other.",
            )
        self._asking = True
        try:
            answer, self._turns = await self._llm._converse(question, stream=True)
        finally:
            self._asking = False
        return answer
