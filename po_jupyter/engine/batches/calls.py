"""The calls of a row in a batch: answered by the journal and by the batch; what neither knows waits for the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from po_jupyter.engine.calls import Calls
from po_jupyter.engine.interrupts import Interrupt
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.model.pipeline import CallRetry
from po_jupyter.model.usage import Usage

if TYPE_CHECKING:
    from po_jupyter.engine.lifecycle import Frame


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


class BatchCalls(Calls):
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
        frame: Frame,
        stream: bool = False,
        retry: CallRetry | None = None,
    ) -> ChatResponse:
        """Answer from the journal or from the batch; Deferred when neither has it."""
        self._work.checkpoint()
        scope, round_ = self._scope, frame.round
        if scope.is_recorded(request, stage=stage, round=round_):
            return await scope.chat(request, stage=stage, round=round_)
        came = self.came
        if came is None or (came.stage is not None and (came.stage, came.round) != (stage, round_)):
            raise Deferred(request, stage, round_)
        self.came = None
        before = scope.usage
        try:
            return await scope.collected(request, came.read, stage=stage, round=round_, batch=came.batch)
        finally:
            self.fresh = _difference(scope.usage, before)


def _difference(now: Usage, before: Usage) -> Usage:
    cost = None if now.cost is None or before.cost is None else now.cost - before.cost
    tokens = {"input_tokens": now.input_tokens - before.input_tokens}
    tokens["output_tokens"] = now.output_tokens - before.output_tokens
    return Usage(**tokens, cost=cost, calls=1)
