"""The calls of a row in a batch: answered by the journal, the cache and the batch; what none has waits for the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from po_jupyter.engine.base.interrupts import Interrupt
from po_jupyter.engine.calls.attempt_calls import AttemptCalls
from po_jupyter.engine.calls.cache_policy import cache_mode
from po_jupyter.engine.ports import CallFrame
from po_jupyter.errors import ModelError
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.model.run.usage import Usage


class Deferred(Interrupt):
    """The row needs an answer that is not there: `request` is to be asked, at this stage of this round."""

    def __init__(self, request: ChatRequest, stage: str, round: int) -> None:
        super().__init__()
        self.request, self.stage, self.round = request, stage, round


class Came(NamedTuple):
    """The answer that a batch brought for a row.

    `stage` None: for whatever the row asks first. `read(request)` is the answer or raises a ModelError.
    """

    batch: str
    stage: str | None
    round: int
    read: Callable[[ChatRequest], ChatResponse]


def raising(error: ModelError) -> Callable[[ChatRequest], ChatResponse]:
    """What reads an answer that is an error; for `Came`."""

    def read(request: ChatRequest) -> ChatResponse:
        raise error

    return read


class BatchCalls(AttemptCalls):
    """Calls of one attempt of a row. `came` is the answer that may be used, once; None when it was.

    `fresh` is what that answer used, or None while it was not used.
    """

    came: Came | None = None
    fresh: Usage | None = None

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
        """Answer from the journal, the cache or the batch; Deferred when none of them has it."""
        self._parts.boundary.checkpoint()
        came = self.came
        if came is not None and came.stage is not None and (came.stage, came.round) != (stage, frame.round):
            came = None
        mode = cache_mode(frame.task, self._parts.inputs.options, again=self._again, given=request.cache)
        if came is not None and mode is True:
            mode = "refresh"  # the answer is there: nobody else's is looked for
        call = self._scope.next_call(request, stage=stage, round=frame.round, cache=mode)
        known = await self._scope.find_answer(call)
        if known is not None:
            return known
        if came is None:
            raise Deferred(request, stage, frame.round)
        self.came = None
        before = self._scope.usage
        observer = self._parts.observer
        ended_by: BaseException | None = None
        observer.on_call_start(frame, stage, request)
        try:
            return await self._scope.record_batch_answer(call, came.read, batch=came.batch)
        except BaseException as error:
            ended_by = error
            raise
        finally:
            self.fresh = _difference(self._scope.usage, before)
            observer.on_call_end(frame, stage, request, self.fresh, ended_by)


def _difference(now: Usage, before: Usage) -> Usage:
    cost = None if now.cost is None or before.cost is None else now.cost - before.cost
    tokens = {"input_tokens": now.input_tokens - before.input_tokens}
    tokens["output_tokens"] = now.output_tokens - before.output_tokens
    return Usage(**tokens, cost=cost, calls=1)
