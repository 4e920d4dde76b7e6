"""`ctx.llm`: model calls of the code of a task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from po_jupyter.engine.base.interrupts import Interrupt
from po_jupyter.engine.chat.chain import Chain
from po_jupyter.engine.chat.chat_call import (
    ChatCall,
    ChatOptions,
    chat_call_of,
    check_option_names,
    run_chat_call,
)
from po_jupyter.engine.chat.embedding import embedding_request, vector_of
from po_jupyter.engine.chat.parallel import check_concurrency, retry_of, run_parallel
from po_jupyter.engine.chat.starter import CallStarter
from po_jupyter.engine.chat.stream import Stream
from po_jupyter.engine.ports import ArtifactReader, CallFrame, ModelCalls
from po_jupyter.errors import InvalidInput, PoError
from po_jupyter.llm.chat import CacheMode, ChatRequest, Message, OnText
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.model.run.answer import Answer
from po_jupyter.model.values.json import JsonValue
from po_jupyter.platform.concurrency import gather_or_cancel

if TYPE_CHECKING:
    from po_jupyter.llm.providers.catalogue import Shortcuts

Prompt = str | Sequence[Mapping[str, JsonValue]]


class TaskLlm:
    """`ctx.llm`: calls are journaled, so that what was answered is never paid again after a crash.

    `await ctx.llm.chat(...)` in an async stage, `ctx.llm.chat(...)` in a sync one; likewise `complete`,
    `parallel` and `chain.ask`. `ctx.llm.openai.gpt5_mini(...)` is `chat` with that model.

    The model of a call: `model=` in the code, else the run's `--model`, else the task's `llm`, the pipeline's,
    and the setting `default_model`.
    """

    def __init__(self, calls: ModelCalls, frame: CallFrame, stage: str, files: ArtifactReader) -> None:
        """The models of one stage; `files` are where images are found by name."""
        self._calls = calls
        self._frame = frame
        self._stage = stage
        self._files = files
        self._starter = CallStarter()

    def chat(self, prompt: Prompt, **options: Unpack[ChatOptions]) -> Any:
        """An `Answer` to a prompt, or to messages `[{role, content}]`; see `ChatOptions` for the options.

        With `schema` (or `json`) the answer's `value` is the JSON in it; an answer that does not fit is asked
        for again, `refine.max_attempts` times. With `tools` the model may have them called first. Raises a
        ModelError, OutputInvalid, AnswerUnreadable, ToolFailed or ToolLoop; InvalidInput before anything is sent.
        """
        call = chat_call_of(self._calls, prompt, options)
        return self._starter.run(self._answer(call, stream=True))

    def complete(self, prompt: Prompt, **options: Unpack[ChatOptions]) -> Any:
        """The text of the answer, nothing else."""
        call = chat_call_of(self._calls, prompt, options)
        return self._starter.run(self._text(call))

    def stream(self, prompt: Prompt, **options: Unpack[ChatOptions]) -> Stream:
        """The answer piece by piece: `for text in ctx.llm.stream(...)`, `async for` in an async stage.

        `.answer` is the whole, once it was read. See `Stream` for what happens when a connection breaks.
        """
        call = chat_call_of(self._calls, prompt, options)
        return Stream(self._starter, partial(self._answer, call, stream=True))

    def chain(
        self, *, messages: Sequence[Mapping[str, JsonValue]] = (), **options: Unpack[ChatOptions]
    ) -> Chain:
        """A conversation that remembers its turns: `chain.ask(...)`, `chain.messages`.

        `messages` goes on from those of an earlier one; `options` are those of each of its calls.
        """
        check_option_names(options)
        return Chain(self._starter, self._calls, partial(self._converse, stream=True), messages, options)

    def parallel(
        self,
        requests: Iterable[Prompt | Mapping[str, JsonValue]],
        *,
        max_concurrency: int = 5,
        failure_threshold: float = 1.0,
        retry: CallRetry | Mapping[str, JsonValue] | int | None = None,
    ) -> Any:
        """Many calls, at most `max_concurrency` at a time: `Results`, one for each request and in their order.

        A request is a prompt, messages, or a dict of what `chat` takes (`{"prompt": ..., "schema": ...}`). One that
        fails is a result with an `error`; only those are tried again, as `retry` says (a number of attempts, or the
        fields of `llm.retry`, which it stands for).
        When more than `failure_threshold` of them failed no new one is sent: ThresholdExceeded, whose `results` has
        what was answered. BudgetExceeded and ModelKeyError stop all of them likewise.
        Raises InvalidInput, naming the request, before anything is sent.
        """
        tries = retry_of(retry)
        calls = [self._call_of(request, i) for i, request in enumerate(requests)]
        work = run_parallel(
            [partial(self._answer, call, retry=tries) for call in calls],
            max_concurrency=max_concurrency,
            failure_threshold=failure_threshold,
        )
        return self._starter.run(work)

    def embed(
        self,
        texts: str | Iterable[str],
        *,
        model: str | None = None,
        cache: CacheMode | None = None,
        max_concurrency: int = 20,
    ) -> Any:
        """The vector of a text, a list of numbers; of several texts a list of vectors, in their order.

        Each text is a call of its own, at most `max_concurrency` at a time: what was answered is never paid again
        after a crash, whatever else of the list failed. `cache` is as for `chat`. Raises the first ModelError or
        BudgetExceeded once the calls in flight have ended; InvalidInput for an empty text, before anything is sent.
        """
        base = self._calls.request((), cache=cache)
        alone = isinstance(texts, str)
        # What is no list is one text, or refused as one: a missing value of a table.
        is_list = hasattr(texts, "__iter__") and not isinstance(texts, str | bytes)
        listed: list[Any] = list(texts) if is_list else [texts]
        requests = [embedding_request(base, text, model) for text in listed]
        check_concurrency(max_concurrency, "llm.embed")
        calls = [partial(self._vector, request) for request in requests]
        return self._starter.run(_vectors(calls, max_concurrency, alone=alone))

    async def _vector(self, request: ChatRequest) -> list[float]:
        return vector_of(await self._calls.chat(request, stage=self._stage, frame=self._frame))

    def __getattr__(self, name: str) -> Shortcuts:
        """The models of a provider: `ctx.llm.openai.gpt5_mini(...)`."""
        from po_jupyter.llm.providers.catalogue import shortcuts

        return shortcuts(name, self.chat)

    # -- steps ----------------------------------------------------------------------------------------
    def _call_of(self, request: object, index: int) -> ChatCall:
        try:
            if not isinstance(request, Mapping):
                return chat_call_of(self._calls, request, {})
            fields = dict(request)
            prompt = fields.pop("prompt", None) or fields.pop("messages", None)
            check_option_names(fields)
            if prompt is None:
                raise InvalidInput("it has no `prompt`")
            return chat_call_of(self._calls, prompt, fields)
        except InvalidInput as error:
            raise InvalidInput(f"request {index}: {error.message}", hint=error.hint) from None

    async def _converse(
        self,
        call: ChatCall,
        *,
        stream: bool = False,
        retry: CallRetry | None = None,
        on_text: OnText | None = None,
    ) -> tuple[Answer, tuple[Message, ...]]:
        return await run_chat_call(
            self._calls, call, stage=self._stage, frame=self._frame, files=self._files,
            stream=stream, retry=retry, on_text=on_text,
        )  # fmt: skip

    async def _answer(
        self,
        call: ChatCall,
        *,
        stream: bool = False,
        retry: CallRetry | None = None,
        on_text: OnText | None = None,
    ) -> Answer:
        answer, _ = await self._converse(call, stream=stream, retry=retry, on_text=on_text)
        return answer

    async def _text(self, call: ChatCall) -> str:
        return (await self._answer(call, stream=True)).text

    def close(self) -> None:
        """Stop the calls that the stage left behind: it is over."""
        self._starter.close()


async def _vectors(
    calls: Sequence[Callable[[], Awaitable[list[float]]]], width: int, *, alone: bool
) -> list[float] | list[list[float]]:
    """The vectors of all texts, or that of the one. Raises the first error, once the calls in flight have ended."""
    vectors: list[list[float]] = [[] for _ in calls]
    todo = iter(range(len(calls)))
    failed: list[PoError | Interrupt] = []

    async def work() -> None:
        for n in todo:
            if failed:
                return
            try:
                vectors[n] = await calls[n]()
            except (PoError, Interrupt) as error:
                failed.append(error)

    await gather_or_cancel(work() for _ in range(min(width, len(calls))))
    if failed:
        raise failed[0]
    return vectors[0] if alone else vectors
