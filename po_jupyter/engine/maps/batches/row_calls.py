"""The calls of a row in a batch: answered by the journal, the cache or the batch; others wait for the next batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from po_jupyter.engine.base.interrupts import Interrupt
from po_jupyter.engine.calls.attempt_calls import AttemptCalls
from po_jupyter.engine.ports import ArtifactReader, CallFrame, Observer, ToolCaller
from po_jupyter.errors import ModelError
from po_jupyter.llm.calls.pending_call import PendingCall
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message, OnText
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.model.run.usage import Usage


class NeedsAnswer(Interrupt):
    """The row needs an answer that is not known: to `request`, at this stage of this round."""

    def __init__(self, request: ChatRequest, stage: str, round: int) -> None:
        """Raised instead of sending `request`."""
        super().__init__()
        self.request, self.stage, self.round = request, stage, round


class BatchAnswer(NamedTuple):
    """The answer that a batch brought for a row.

    `stage` None: to the first request of the row, whichever it is. `read(request)` is the answer or raises ModelError.
    """

    batch: str
    stage: str | None
    round: int
    read: Callable[[ChatRequest], ChatResponse]

    def fits(self, stage: str, round: int) -> bool:
        """True when it answers a request of that stage and round."""
        return self.stage is None or (self.stage, self.round) == (stage, round)


def failed_answer(batch: str, error: ModelError) -> BatchAnswer:
    """An answer that is an error, to whatever the row asks first."""

    def read(request: ChatRequest) -> ChatResponse:
        raise error

    return BatchAnswer(batch, None, 0, read)


class BatchCalls:
    """The calls of one attempt of a row whose answers come with batches. Implements `ModelCalls`; sends nothing.

    `fresh` is the usage of the batch's answer, None while the row has not used it.
    """

    __slots__ = ("_answer", "_calls", "_observer", "fresh")

    def __init__(self, calls: AttemptCalls, observer: Observer, answer: BatchAnswer | None = None) -> None:
        """Over the calls of the attempt; `answer` is used once."""
        self._calls = calls
        self._observer = observer
        self._answer = answer
        self.fresh: Usage | None = None

    @property
    def model(self) -> str:
        """See `ModelCalls`."""
        return self._calls.model

    @property
    def usage(self) -> Usage:
        """See `ModelCalls`."""
        return self._calls.usage

    @property
    def addresses(self) -> Mapping[str, str]:
        """See `ModelCalls`."""
        return self._calls.addresses

    @property
    def lost(self) -> int:
        """See `ModelCalls`."""
        return self._calls.lost

    @property
    def models(self) -> int:
        """See `ModelCalls`: a batch has one."""
        return 1

    def of_model(self, number: int) -> BatchCalls:
        """See `ModelCalls`."""
        return self

    def judge(self, number: int) -> AttemptCalls:
        """See `ModelCalls`: no task has both a batch and a judge."""
        return self._calls.judge(number)

    def request(self, messages: tuple[Message, ...], **fields: Any) -> ChatRequest:
        """See `ModelCalls`."""
        return self._calls.request(messages, **fields)

    def follow_up(self, request: ChatRequest, answer: ChatResponse, question: str) -> ChatRequest:
        """See `ModelCalls`."""
        return self._calls.follow_up(request, answer, question)

    def need_images(self, request: ChatRequest) -> None:
        """See `ModelCalls`."""
        self._calls.need_images(request)

    def need_files(self, request: ChatRequest) -> None:
        """See `ModelCalls`."""
        self._calls.need_files(request)

    def files(self) -> ArtifactReader:
        """See `ModelCalls`."""
        return self._calls.files()

    def toolbox(self, tools: Sequence[Any]) -> ToolCaller:
        """See `ModelCalls`."""
        return self._calls.toolbox(tools)

    def keep(self) -> None:
        """See `ModelCalls`."""
        self._calls.keep()

    def drop(self) -> None:
        """See `ModelCalls`."""
        self._calls.drop()

    async def chat(
        self,
        request: ChatRequest,
        *,
        stage: str,
        frame: CallFrame,
        stream: bool = False,
        retry: CallRetry | None = None,
        on_text: OnText | None = None,
    ) -> ChatResponse:
        """The answer of the journal, the cache or the batch. Raises NeedsAnswer when none of them has it."""
        answer = self._answer
        if answer is not None and not answer.fits(stage, frame.round):
            answer = None
        call = self._calls.open_call(request, stage=stage, frame=frame, answered=answer is not None)
        recalled = await self._calls.scope.find_answer(call)
        if recalled is not None:
            return recalled
        if answer is None:
            raise NeedsAnswer(request, stage, frame.round)
        self._answer = None
        return await self._record(call, answer, frame)

    async def _record(self, call: PendingCall, answer: BatchAnswer, frame: CallFrame) -> ChatResponse:
        """Record the batch's answer in the journal, as that of a call which was sent by itself."""
        scope, observer, stage = self._calls.scope, self._observer, call.key.stage
        before = scope.usage
        response: ChatResponse | None = None
        ended_by: BaseException | None = None
        observer.on_call_start(frame, stage, call.request)
        try:
            response = await scope.record_batch_answer(call, answer.read, batch=answer.batch)
            return response
        except BaseException as error:
            ended_by = error
            raise
        finally:
            self.fresh = _difference(scope.usage, before)
            observer.on_call_end(frame, stage, call.request, response, self.fresh, ended_by)


def _difference(now: Usage, before: Usage) -> Usage:
    cost = None if now.cost is None or before.cost is None else now.cost - before.cost
    tokens = {"input_tokens": now.input_tokens - before.input_tokens}
    tokens["output_tokens"] = now.output_tokens - before.output_tokens
    return Usage(**tokens, cost=cost, calls=1)
