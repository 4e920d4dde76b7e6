"""The tries of one call: sent, sent again where that helps, and recorded with its outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from po_jupyter.errors import BudgetExceeded, ModelError, ModelRefused
from po_jupyter.llm.calls.admission import UNLIMITED, Admission, Pass
from po_jupyter.llm.calls.cache import CallCache
from po_jupyter.llm.calls.journal import CallKey, Journal
from po_jupyter.llm.calls.pending_call import CallHooks, CallOutcomes, OnDone, PendingCall, with_broken_tries
from po_jupyter.llm.calls.retry import RETRY_AFTER_CAP, retry_delay, with_retry
from po_jupyter.llm.chat import ChatRequest, ChatResponse, ChatResponseJson, OnText, Provider
from po_jupyter.llm.money.pricing import LIST_PRICES, PriceBook
from po_jupyter.llm.money.service_tiers import tier_problem
from po_jupyter.llm.providers.refs import embeddings_problem
from po_jupyter.llm.wire.ends import check_not_empty
from po_jupyter.llm.wire.usage import with_checked_usage
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.model.run.usage import Usage

log = structlog.get_logger(__name__)
_HUB = CallRetry(initial_delay=0.5, multiplier=2.0, max_delay=15.0)  # between two looks at a hub that is away


@dataclass(frozen=True, slots=True)
class ChatParts:
    """The parts that every call of a run goes through: provider, journal, limiter, cache.

    provider_of      finds the provider of a model ref (`Providers.get`)
    on_done          is called after each call; it must be quick
    on_unknown       is called for each call that is sent again without a known outcome; it must be quick
    retry_after_cap  the longest wait in seconds that a server may ask for
    admission        the limiter, which lets each request go
    sleep            the wait between two tries; it may raise what ends the call there
    prepare          gets what `provider_of` needs for a model ref (`Providers.prepare`); its wait may raise a PoError
    address          the hash of the address where a model ref is asked, None where it has none
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
    prepare: Callable[[str], Awaitable[None] | None] = lambda ref: None
    address: Callable[[str], str | None] = lambda ref: None


class CallTries:
    """The sending of one call, to the record of its outcome.

    begin ─► try ─► an answer ──────────────────────────► recorded, before anything else is done with it
             ▲ ├──► a transient error ─► wait, and again
             │ ├──► another error ──────────────────────► failed
             │ ├──► a hub, its token or its limit to wait for ─► wait, and again: no attempt
             └─┴──► stopped: withdrawn, unless a request may have been billed; that stays an open intent
    """

    __slots__ = (
        "_answered", "_broken", "_cache_later", "_call", "_chat", "_failed", "_hooks", "_intents", "_open",
        "_outcomes", "_pass", "_provider",
    )  # fmt: skip

    def __init__(
        self,
        chat: ChatParts,
        outcomes: CallOutcomes,
        call: PendingCall,
        hooks: CallHooks,
        cache_later: Callable[[PendingCall, ChatResponse, ChatResponseJson], None],
    ) -> None:
        """Nothing is sent yet. Raises ModelKeyError, what keeps the price list from being read, and ModelRefused for a
        vector or a service tier of a provider that has none."""
        # A missing key is found before anything is recorded, and the price list is read while nothing is paid yet.
        self._provider = chat.provider_of(call.request.model)
        _check_embeds(self._provider, call.request)
        _check_tier(call.request)
        chat.prices.is_priced(call.request.model)
        self._chat = chat
        self._outcomes = outcomes
        self._call = call
        self._hooks = hooks
        self._cache_later = cache_later
        self._intents = call.intents
        self._pass: Pass | None = None  # of the first try
        self._answered: Pass | None = None  # of the try that was answered; what limits calls hears of it later
        self._open = False  # a request was sent and has no answer: what ends the call now may have been billed
        self._failed: ModelError | None = None  # of the try before
        self._broken: list[Usage] = []  # of tries that broke in the middle of their answer

    async def send(self, retry: CallRetry) -> ChatResponse:
        """The answer, recorded. Raises the ModelError that was recorded, or what stopped the call."""
        try:
            self._pass = await self._pass_with_intent()
        except BaseException:
            if self._call.unsent:
                self._outcomes.withdraw(self._call.key, Usage())
            raise
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
    async def _pass_with_intent(self) -> Pass:
        """Record that the call is about to be sent, and only once it may be: one that is stopped while it waits
        was never about to."""
        call, chat = self._call, self._chat
        admitted = chat.admission.enter(call.request, call.key.task)
        if admitted is None:
            admitted = await self._wait_for_pass()
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

    async def _wait_for_pass(self) -> Pass:
        with self._hooks.waiting():
            return await self._chat.admission.wait(self._call.request, self._call.key.task)

    async def _further_pass(self) -> Pass:
        """The pass of a try that is not the first."""
        if self._open:  # the try before stays an intent without an answer, and this one has its own
            self._intents += 1
            return await self._pass_with_intent()
        admitted = self._chat.admission.enter(self._call.request, self._call.key.task)
        return admitted if admitted is not None else await self._wait_for_pass()

    # -- requests ---------------------------------------------------------------------------------------
    async def _try(self) -> ChatResponse:
        waits = 0
        while True:
            try:
                return await self._try_once()
            except ModelError as error:
                if error.waits_for is None:
                    raise
                waits += 1
                await self._wait_for(error, waits)

    async def _wait_for(self, error: ModelError, waits: int) -> None:
        """Wait until what a hub did not have is there, or a limit of its gateway is over."""
        delay = retry_delay(waits, _HUB, error.retry_after, cap=self._chat.retry_after_cap)
        ready: Callable[[], Awaitable[bool]] | None = getattr(self._provider, "ready", None)
        self._note_wait(waits, delay, error)
        with self._hooks.waiting():
            await self._chat.sleep(delay)
            while error.waits_for != "limit" and ready is not None and not await ready():
                waits += 1
                await self._chat.sleep(retry_delay(waits, _HUB, cap=self._chat.retry_after_cap))

    async def _try_once(self) -> ChatResponse:
        failed, on_again = self._failed, self._hooks.on_again
        if failed is not None and on_again is not None and (self._open or failed.usage is not None):
            await on_again(failed)
        admitted, self._pass = self._pass, None
        if admitted is None:
            admitted = await self._further_pass()
        self._open = True
        admitted.sends()
        try:
            response = await self._provider.chat(self._call.request, on_text=_harmless(self._hooks.on_text))
        except ModelError as error:
            self._open, self._failed = error.may_be_billed, error
            admitted.failed(error)
            _suggest_model(error, self._call.request.model)
            raise
        except BudgetExceeded:  # of a gateway, which sent nothing on
            self._open = False
            admitted.lost()
            raise
        except BaseException:
            admitted.lost()
            raise
        response = with_checked_usage(response, self._call.request)
        try:
            check_not_empty(response, self._call.request)
        except ModelError as error:
            self._open, self._failed = False, error
            admitted.answered(response)
            raise
        self._answered = admitted
        return response

    def _note_wait(self, attempt: int, delay: float, error: ModelError) -> None:
        if error.usage is not None:
            self._broken.append(self._outcomes.usage_of_error(error, self._call.request))
        if self._hooks.on_wait is not None:
            self._hooks.on_wait(attempt, delay, error)

    async def _settle(self, response: ChatResponse, seconds: float) -> ChatResponse:
        """Record an answer, priced. Nothing before the record can fail: the answer would be paid for again."""
        request = self._call.request
        usage = with_broken_tries(
            self._chat.prices.priced(response.usage, request.model, response.model, tier=response.service_tier),
            self._broken,
        )
        if usage is not response.usage:
            response = replace(response, usage=usage)
        body = response.to_json()
        self._outcomes.in_flight -= 1
        try:
            await self._outcomes.record_answer(self._call, response, body, seconds)
        finally:
            if self._answered is not None:
                self._answered.answered(response)
        self._cache_later(self._call, response, body)
        return response

    def _withdraw(self) -> None:
        """Take the intent back when the call was stopped while nothing of it was in flight."""
        if self._open and not self._call.unsent:
            return
        self._outcomes.in_flight -= 1
        self._outcomes.withdraw(self._call.key, with_broken_tries(Usage(), self._broken))


def _check_embeds(provider: Provider, request: ChatRequest) -> None:
    """Raise ModelRefused where a vector is wanted of a provider that makes none; nothing was sent."""
    if request.embed and not getattr(provider, "embeds", False):
        raise ModelRefused(
            embeddings_problem(request.model) or f"{request.provider} makes no embeddings here",
            hint="Name a model of a provider that makes them under the task's `llm`.",
            details={"provider": request.provider, "model": request.model_name},
        )


def _check_tier(request: ChatRequest) -> None:
    """Raise ModelRefused for a service tier that the provider does not take; nothing was sent."""
    if (problem := tier_problem(request.model, request.service_tier)) is not None:
        raise ModelRefused(
            problem,
            hint="Leave `service_tier` out, or say `standard`, where the model may be another one.",
            details={"provider": request.provider, "model": request.model_name},
        )


def _suggest_model(error: ModelError, model: str) -> None:
    """Add the model that was meant to `error`, which is not recorded yet."""
    with suppress(Exception):
        from po_jupyter.llm.providers.catalogue import suggest_model  # it may load the price list

        suggest_model(error, model)


def _harmless(on_text: OnText | None) -> OnText | None:
    """`on_text`, whose errors do not end the answer: it is paid for, and whoever reads along gets no more pieces."""
    if on_text is None:
        return None
    read_along = on_text
    failed = False

    def on_piece(piece: str) -> None:
        nonlocal failed
        if failed:
            return
        try:
            read_along(piece)
        except Exception as error:
            failed = True
            log.warning("nobody reads along any more", error=f"{type(error).__name__}: {error}"[:200])

    return on_piece
