"""Model calls through the journal (P3): replayed, or sent with retries, priced, and their answers cached.

JournaledChat ─► CallScope (of one attempt) ─► PendingCall ─┬─► journal, cache: an answer is there
                                                            └─► _CallTries: sent, to its outcome
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

from po_jupyter.errors import ModelError, from_json
from po_jupyter.llm.batches.protocol import BATCH_PRICE
from po_jupyter.llm.calls.admission import UNLIMITED, Admission, Pass
from po_jupyter.llm.calls.cache import CacheSlot, CallCache, keepable
from po_jupyter.llm.calls.journal import CallDone, CallKey, CallOutcome, Journal
from po_jupyter.llm.calls.pending_call import (
    CallHooks,
    CallOutcomes,
    OnAgain,
    OnDone,
    PendingCall,
    WaitContext,
    with_broken_tries,
)
from po_jupyter.llm.calls.retry import RETRY_AFTER_CAP, OnWait, with_retry
from po_jupyter.llm.chat import CacheMode, ChatRequest, ChatResponse, ChatResponseJson, OnText, Provider
from po_jupyter.llm.money.pricing import LIST_PRICES, PriceBook
from po_jupyter.llm.wire.ends import check_not_empty
from po_jupyter.llm.wire.usage import with_checked_usage
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.model.run.usage import Usage

_DEFAULT_RETRY = CallRetry()


@dataclass(frozen=True, slots=True)
class JournaledChat:
    """The parts that every call of a run goes through: provider, journal, limiter, cache.

    provider_of      finds the provider of a model ref (`Providers.get`)
    on_done          is called after each call; it must be quick
    on_unknown       is called for each call that is sent again without a known outcome; it must be quick
    retry_after_cap  the longest wait in seconds that a server may ask for
    admission        the limiter, which lets each request go
    sleep            the wait between two tries; it may raise what ends the call there
    """

    provider_of: Callable[[str], Provider]
    journal: Journal
    on_done: OnDone | None = None
    on_unknown: Callable[[CallKey], None] | None = None
    retry_after_cap: float = RETRY_AFTER_CAP
    admission: Admission = UNLIMITED
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    cache: CallCache | None = None
    prices: PriceBook = LIST_PRICES

    def scope(self, task: str, *, item: int | None = None, attempt: int = 1) -> CallScope:
        """The calls of one attempt of a task or an item."""
        return CallScope(self, task, item, attempt)


class CallScope:
    """The calls of one attempt of a task or an item: counts occurrences and sums up what they used."""

    __slots__ = ("_answers", "_chat", "_occurrences", "_outcomes", "_slots", "attempt", "item", "task")

    def __init__(self, chat: JournaledChat, task: str, item: int | None, attempt: int) -> None:
        """`item` is None outside a map."""
        self._chat = chat
        self._occurrences: Counter[tuple[int, str, str]] = Counter()
        self._outcomes = CallOutcomes(chat.journal, chat.prices, chat.on_done)
        self._slots: list[CacheSlot] = []
        self._answers: list[
            tuple[CacheSlot, ChatResponseJson]
        ] = []  # for the cache, once the attempt succeeded
        self.task = task
        self.item = item
        self.attempt = attempt

    @property
    def usage(self) -> Usage:
        """The sum over the calls, failed and replayed ones included; the same object until a call ends."""
        return self._outcomes.usage

    @property
    def in_flight(self) -> int:
        """Calls that were sent and have no outcome: after a cancellation they may have been billed."""
        return self._outcomes.in_flight

    def take_withdrawn_usage(self) -> Usage:
        """What withdrawn calls used since the last time; it is not in `usage`."""
        return self._outcomes.take_withdrawn_usage()

    def keep_answers(self) -> None:
        """The attempt succeeded: its answers may be used by later runs."""
        if self._answers and self._chat.cache is not None:
            self._chat.cache.keep(self._answers)
        self._answers, self._slots = [], []

    def drop_answers(self) -> None:
        """The attempt failed: the next one asks the same anew."""
        if self._slots and self._chat.cache is not None:
            self._chat.cache.release(self._slots)
        self._answers, self._slots = [], []

    async def chat(
        self,
        request: ChatRequest,
        *,
        stage: str = "inference",
        round: int = 0,
        retry: CallRetry | None = None,
        on_text: OnText | None = None,
        on_wait: OnWait | None = None,
        waiting: WaitContext = nullcontext,
        on_again: OnAgain | None = None,
    ) -> ChatResponse:
        """Replay or send the next call of a request. Raises a ModelError, the recorded one when it failed before.

        `on_text` gets the pieces as they come; a second try after a broken stream starts again from the first
        piece, so a caller that shows text clears it on `on_wait`. A replay hands over the whole text at once.
        """
        call = self.next_call(request, stage=stage, round=round)
        response = await self.find_answer(call, on_text=on_text)
        if response is not None:
            return response
        return await self.send(
            call, retry=retry, on_text=on_text, on_wait=on_wait, on_again=on_again, waiting=waiting
        )

    def next_call(
        self, request: ChatRequest, *, stage: str = "inference", round: int = 0, cache: CacheMode = False
    ) -> PendingCall:
        """The next call of that request, numbered from now on; for `find_answer`, then `send`.

        `cache`: the cache may answer it and gets its answer; "refresh": only the latter.
        """
        nth = self._occurrences[round, stage, request.request_hash]
        self._occurrences[round, stage, request.request_hash] += 1
        key = CallKey(self.task, self.item, self.attempt, round, stage, request.request_hash, nth)
        slot = None
        if cache and self._chat.cache is not None:
            slot = self._chat.cache.next_slot(request)
        if slot is not None:
            self._slots.append(slot)
        return PendingCall(key, request, slot, reads=cache is True)

    async def find_answer(self, call: PendingCall, *, on_text: OnText | None = None) -> ChatResponse | None:
        """The answer from the journal or the cache; None: the call has to be sent. Raises the recorded ModelError."""
        entry = await self._chat.journal.lookup(str(call.key))
        if entry is not None and entry.outcome is not None:
            response = self._replay(call, entry.outcome, on_text)
            if not response.usage.cached_calls:
                self._cache_later(call, response, entry.outcome["response"])
            return response
        if entry is not None and entry.intents:
            call.intents = (
                entry.intents
            )  # it may have been answered and billed: that is reported, and it is sent again
            return None
        return await self._find_cached(call, on_text)

    async def _find_cached(self, call: PendingCall, on_text: OnText | None) -> ChatResponse | None:
        cache = self._chat.cache
        if cache is None or call.slot is None or not call.reads:
            return None
        slot, response = await cache.find(call.slot)
        if slot != call.slot:
            call.slot = slot
            self._slots.append(slot)
        if response is None:
            return None
        done = CallDone(
            call.key, response.usage, call.request.model, 0.0, False, cached=True, cache_nth=slot.nth
        )
        await self._outcomes.record({"ok": True, "response": response.to_json()}, done)
        if on_text is not None and response.text:
            on_text(response.text)
        return response

    def _replay(self, call: PendingCall, outcome: CallOutcome, on_text: OnText | None) -> ChatResponse:
        if not outcome["ok"]:
            error = from_json(outcome["error"])
            usage = Usage(calls=1)
            if isinstance(error, ModelError):
                usage = self._outcomes.usage_of_error(error, call.request)
            self._outcomes.replayed(CallDone(call.key, usage, call.request.model, 0.0, True, error.code))
            raise error
        response = ChatResponse.from_json(outcome["response"], replayed=True)
        self._outcomes.replayed(CallDone(call.key, response.usage, call.request.model, response.seconds, True))
        if on_text is not None and response.text:
            on_text(response.text)
        return response

    async def send(
        self,
        call: PendingCall,
        *,
        retry: CallRetry | None = None,
        on_text: OnText | None = None,
        on_wait: OnWait | None = None,
        on_again: OnAgain | None = None,
        waiting: WaitContext = nullcontext,
    ) -> ChatResponse:
        """Send a call and record its outcome. Raises a ModelError.

        `on_again` is awaited before a try that follows one which was, or may have been, billed; what it raises
        ends the call. A try waits for a limiter inside `waiting()`.
        """
        hooks = CallHooks(on_text, on_wait, on_again, waiting)
        tries = _CallTries(self._chat, self._outcomes, call, hooks, self._cache_later)
        return await tries.send(retry or _DEFAULT_RETRY)

    async def record_batch_answer(
        self, call: PendingCall, read: Callable[[ChatRequest], ChatResponse], *, batch: str
    ) -> ChatResponse:
        """Record an answer that came with a batch, as one that was sent by itself.

        `read(request)` is the answer, without its cost, or raises the ModelError that the provider answered with.
        `batch` is the token of the batch.
        """
        try:
            response = with_checked_usage(read(call.request), call.request)
            check_not_empty(response, call.request)
        except ModelError as error:
            await self._outcomes.record_error(call, error, batch=batch, rate=BATCH_PRICE)
            raise
        usage = self._chat.prices.priced(response.usage, call.request.model, response.model, rate=BATCH_PRICE)
        response = replace(response, usage=usage)
        body = response.to_json()
        self._cache_later(call, response, body)
        await self._outcomes.record_answer(call, response, body, batch=batch)
        return response

    def _cache_later(self, call: PendingCall, response: ChatResponse, body: ChatResponseJson) -> None:
        if call.slot is not None and keepable(response):
            self._answers.append((call.slot, body))


class _CallTries:
    """The sending of one call, to the record of its outcome.

    begin ─► try ─► an answer ──────────────────────────► settled
             ▲ ├──► a transient error ─► wait, and again
             │ ├──► another error ──────────────────────► failed
             └─┴──► stopped: withdrawn, unless a request may have been billed; that stays an open intent
    """

    __slots__ = (
        "_broken", "_cache_later", "_call", "_chat", "_failed", "_hooks", "_intents", "_open", "_outcomes",
        "_pass", "_provider",
    )  # fmt: skip

    def __init__(
        self,
        chat: JournaledChat,
        outcomes: CallOutcomes,
        call: PendingCall,
        hooks: CallHooks,
        cache_later: Callable[[PendingCall, ChatResponse, ChatResponseJson], None],
    ) -> None:
        # A missing key is found before anything is recorded.
        self._provider = chat.provider_of(call.request.model)
        self._chat = chat
        self._outcomes = outcomes
        self._call = call
        self._hooks = hooks
        self._cache_later = cache_later
        self._intents = call.intents
        self._pass: Pass | None = None  # of the first try
        self._open = False  # a request was sent and has no answer: what ends the call now may have been billed
        self._failed: ModelError | None = None  # of the try before
        self._broken: list[Usage] = []  # of tries that broke in the middle of their answer

    async def send(self, retry: CallRetry) -> ChatResponse:
        await self._begin()
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._outcomes.in_flight += 1
        try:
            response = await with_retry(
                self._try,
                retry,
                on_wait=self._note_wait,
                cap=self._chat.retry_after_cap,
                sleep=self._chat.sleep,
            )
        except ModelError as error:
            self._outcomes.in_flight -= 1
            await self._outcomes.record_error(self._call, error, loop.time() - started, broken=self._broken)
            raise
        except BaseException:
            self._withdraw()
            raise
        return await self._settle(response, loop.time() - started)

    # -- before and between requests ------------------------------------------------------------------
    async def _begin(self) -> None:
        try:
            self._pass = await self._pass_with_intent()
        except BaseException:
            if self._call.unsent:
                self._outcomes.withdraw(self._call.key, Usage())
            raise

    async def _pass_with_intent(self) -> Pass:
        """Record that the call is about to be sent, and only once it may be: one that is stopped while it waits
        was never about to."""
        call, chat = self._call, self._chat
        admitted = await self._admitted()
        try:
            if self._intents and chat.on_unknown is not None:
                chat.on_unknown(call.key)
            await chat.journal.intent(
                str(call.key),
                {"model": call.request.model, "stage": call.key.stage, "intents": self._intents},
            )
        except BaseException as error:
            admitted.unused()
            call.unsent = isinstance(error, asyncio.CancelledError)  # the record is on its way all the same
            raise
        return admitted

    async def _admitted(self) -> Pass:
        admission, call = self._chat.admission, self._call
        admitted = admission.enter(call.request, call.key.task)
        if admitted is None:
            with self._hooks.waiting():
                admitted = await admission.wait(call.request, call.key.task)
        return admitted

    async def _next_pass(self) -> Pass:
        admitted, self._pass = self._pass, None
        if admitted is not None:
            return admitted
        if self._open:  # the try before stays an intent without an answer, and this one has its own
            self._intents += 1
            return await self._pass_with_intent()
        return await self._admitted()

    # -- requests ---------------------------------------------------------------------------------------
    async def _try(self) -> ChatResponse:
        failed, on_again = self._failed, self._hooks.on_again
        if failed is not None and on_again is not None and (self._open or failed.usage is not None):
            await on_again(failed)
        admitted = await self._next_pass()
        self._open = True
        admitted.sends()
        try:
            response = await self._provider.chat(self._call.request, on_text=self._hooks.on_text)
        except ModelError as error:
            self._open, self._failed = error.may_be_billed, error
            admitted.failed(error)
            from po_jupyter.llm.providers.catalogue import suggest_model  # it may load the price list

            suggest_model(error, self._call.request.model)
            raise
        except BaseException:
            admitted.lost()
            raise
        response = with_checked_usage(response, self._call.request)
        admitted.answered(response)
        try:
            check_not_empty(response, self._call.request)
        except ModelError as error:
            self._open, self._failed = False, error
            raise
        return response

    def _note_wait(self, attempt: int, delay: float, error: ModelError) -> None:
        if error.usage is not None:
            self._broken.append(self._outcomes.usage_of_error(error, self._call.request))
        if self._hooks.on_wait is not None:
            self._hooks.on_wait(attempt, delay, error)

    async def _settle(self, response: ChatResponse, seconds: float) -> ChatResponse:
        """Record an answer, priced."""
        request = self._call.request
        usage = with_broken_tries(
            self._chat.prices.priced(response.usage, request.model, response.model), self._broken
        )
        if usage is not response.usage:
            response = replace(response, usage=usage)
        body = response.to_json()
        self._cache_later(self._call, response, body)
        self._outcomes.in_flight -= 1
        await self._outcomes.record_answer(self._call, response, body, seconds)
        return response

    def _withdraw(self) -> None:
        """Take the intent back when the call was stopped while nothing of it was in flight."""
        if self._open and not self._call.unsent:
            return
        self._outcomes.in_flight -= 1
        self._outcomes.withdraw(self._call.key, with_broken_tries(Usage(), self._broken))
