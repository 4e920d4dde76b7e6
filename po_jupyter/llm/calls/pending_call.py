"""One call until its outcome is known, and the record of outcomes: journal, usage sums, callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from po_jupyter.errors import ModelError
from po_jupyter.llm.calls.cache import CacheSlot
from po_jupyter.llm.calls.journal import CallDone, CallKey, CallOutcome, Journal
from po_jupyter.llm.calls.retry import OnWait
from po_jupyter.llm.chat import ChatRequest, ChatResponse, ChatResponseJson, OnText
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.llm.money.service_tiers import BATCH, dearest_tier, tier_in_answer
from po_jupyter.model.run.usage import Usage

OnDone: TypeAlias = Callable[[CallDone], None]

OnAgain: TypeAlias = Callable[[ModelError], Awaitable[None]]
WaitContext: TypeAlias = Callable[[], AbstractContextManager[None]]
_NOTHING = Usage()


class CallHooks(NamedTuple):
    """The callbacks of one call; see `CallScope.send`."""

    on_text: OnText | None
    on_wait: OnWait | None
    on_again: OnAgain | None
    waiting: WaitContext


@dataclass(slots=True, eq=False)
class PendingCall:
    """One call whose outcome is not known yet.

    slot     its place in the cache of calls; None: it has none
    reads    the cache may answer it
    intents  how often it was about to be sent
    unsent   it was stopped while its last intent was being written
    address  see `CallDone`
    """

    key: CallKey
    request: ChatRequest
    slot: CacheSlot | None = None
    reads: bool = False
    intents: int = 0
    unsent: bool = False
    address: str | None = None


class CallOutcomes:
    """Records the outcomes of one attempt's calls, and sums up what they used.

    usage      of every recorded and replayed call, failed ones included
    in_flight  calls that were sent and have no outcome: after a cancellation those are the ones that may have been
               billed
    """

    __slots__ = ("_journal", "_on_done", "_prices", "_withdrawn", "in_flight", "usage")

    def __init__(self, journal: Journal, prices: PriceBook, on_done: OnDone | None) -> None:
        """`on_done` is called after each outcome; it must be quick."""
        self._journal = journal
        self._prices = prices
        self._on_done = on_done
        self._withdrawn = _NOTHING
        self.usage = _NOTHING
        self.in_flight = 0

    async def record(self, outcome: CallOutcome, done: CallDone) -> None:
        """Record the outcome of a call, even when the caller is cancelled meanwhile: it may have been paid for."""
        self.usage = done.usage if self.usage is _NOTHING else self.usage + done.usage
        write = self._journal.response(str(done.key), outcome, done)
        if self._journal.queues:
            await write
        else:
            await _shielded(write)
        if self._on_done is not None:
            self._on_done(done)

    async def record_answer(
        self,
        call: PendingCall,
        response: ChatResponse,
        body: ChatResponseJson,
        seconds: float = 0.0,
        *,
        batch: str | None = None,
    ) -> None:
        """Record the answer to a call; `body` is its JSON, `batch` the token of the batch that it came with."""
        done = CallDone(
            call.key, response.usage, call.request.model, seconds, False, batch=batch, address=call.address
        )
        await self.record({"ok": True, "response": body}, done)

    async def record_error(
        self,
        call: PendingCall,
        error: ModelError,
        seconds: float = 0.0,
        *,
        broken: Sequence[Usage] = (),
        batch: str | None = None,
    ) -> None:
        """Record the error that ended a call; its usage, with that of `broken` tries, goes into its `details`."""
        tier = "" if batch is None else BATCH
        usage = with_broken_tries(self.usage_of_error(error, call.request, tier=tier), broken)
        if broken:
            error.usage = usage.to_json()
        done = CallDone(
            call.key, usage, call.request.model, seconds, False, error.code, batch=batch, address=call.address
        )
        await self.record({"ok": False, "error": error.to_json()}, done)

    def replayed(self, done: CallDone) -> None:
        """Count a call whose outcome the journal had already."""
        self.usage = self.usage + done.usage
        if self._on_done is not None:
            self._on_done(done)

    def withdraw(self, key: CallKey, usage: Usage) -> None:
        """Take the last intent of a call back, of which nothing is in flight. `usage`: of its broken tries."""
        self._withdrawn = self._withdrawn + usage
        self._journal.withdrawn(str(key), usage)

    def usage_of_error(self, error: ModelError, request: ChatRequest, *, tier: str = "") -> Usage:
        """The usage of a failed call, priced; it becomes the error's `usage` too.

        A truncated answer was paid for, a refused connection was not, and of a timeout nobody knows. One that names no
        service tier counts at the dearest that it may have been served on, but for `tier` where that is certain.
        """
        reported = error.usage
        if reported is None:
            if not error.may_be_billed:
                return Usage(calls=1)
            reported = Usage(calls=1, unknown=1).to_json()
        named = tier_in_answer(error.details.get("service_tier")) or dearest_tier(request.service_tier)
        usage = self._prices.priced(
            Usage.model_validate(reported), request.model, error.model, tier=tier or named
        )
        error.usage = usage.to_json()
        return usage

    def take_withdrawn_usage(self) -> Usage:
        """The usage of withdrawn calls since the last time; it is not in `usage`."""
        usage, self._withdrawn = self._withdrawn, _NOTHING
        return usage


async def _shielded(write: Coroutine[Any, Any, None]) -> None:
    """Await `write` to its end even when cancelled meanwhile; then be cancelled."""
    task = asyncio.ensure_future(write)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.cancelled():
            await asyncio.wait([task])
            task.result()
        raise


def with_broken_tries(usage: Usage, broken: Sequence[Usage]) -> Usage:
    """The usage of a call with that of its tries that broke: one call all the same, and one bill."""
    for more in broken:
        usage = (usage + more).model_copy(update={"calls": usage.calls})
    return usage
