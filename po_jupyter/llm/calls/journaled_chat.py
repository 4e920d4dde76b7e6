"""Model calls through the journal (P3): replayed, or sent with retries, priced, and their answers cached.

JournaledChat ─► CallScope (of one attempt) ─► PendingCall ─┬─► journal, cache: an answer is there
                                                            └─► CallTries: sent, to its outcome
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

from po_jupyter.errors import ModelError, from_json
from po_jupyter.llm.calls.cache import CacheSlot, CallCache, keepable
from po_jupyter.llm.calls.call_tries import CallTries, ChatParts
from po_jupyter.llm.calls.journal import CallDone, CallKey, CallOutcome
from po_jupyter.llm.calls.pending_call import (
    CallHooks,
    CallOutcomes,
    OnAgain,
    PendingCall,
    WaitContext,
)
from po_jupyter.llm.calls.retry import OnWait
from po_jupyter.llm.chat import CacheMode, ChatRequest, ChatResponse, ChatResponseJson, OnText
from po_jupyter.llm.money.service_tiers import BATCH
from po_jupyter.llm.wire.ends import check_not_empty
from po_jupyter.llm.wire.usage import with_checked_usage
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.model.run.usage import Usage

_DEFAULT_RETRY = CallRetry()


class JournaledChat(ChatParts):
    """The parts that every call of a run goes through, and the scopes over them."""

    __slots__ = ()

    def scope(self, task: str, *, item: int | None = None, attempt: int = 1) -> CallScope:
        """The calls of one attempt of a task or an item."""
        return CallScope(self, task, item, attempt)


class CallScope:
    """The calls of one attempt of a task or an item: counts occurrences and sums up what they used."""

    __slots__ = (
        "_answers",
        "_chat",
        "_occurrences",
        "_outcomes",
        "_slots",
        "addresses",
        "attempt",
        "item",
        "task",
    )

    def __init__(self, chat: JournaledChat, task: str, item: int | None, attempt: int) -> None:
        """`item` is None outside a map."""
        self._chat = chat
        self._occurrences: dict[tuple[int, str, str], int] = {}
        self._outcomes = CallOutcomes(chat.journal, chat.prices, chat.on_done)
        self._slots: list[CacheSlot] = []
        self._answers: list[tuple[CacheSlot, ChatResponseJson]] = []  # for the cache, if the attempt succeeds
        self.addresses: dict[str, str] = {}  # hashes of where the models of its calls were asked, by model ref
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
        """The usage of withdrawn calls since the last time; it is not in `usage`."""
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
        digest = request.request_hash
        nth = self._occurrences.get((round, stage, digest), 0)
        self._occurrences[round, stage, digest] = nth + 1
        key = CallKey(self.task, self.item, self.attempt, round, stage, digest, nth)
        slot = None
        if cache and self._chat.cache is not None:
            slot = self._chat.cache.next_slot(request)
        if slot is not None:
            self._slots.append(slot)
        return PendingCall(key, request, slot, reads=cache is True, address=self._chat.address(request.model))

    async def find_answer(self, call: PendingCall, *, on_text: OnText | None = None) -> ChatResponse | None:
        """The answer from the journal or the cache; None: the call has to be sent. Raises the recorded ModelError."""
        entry = await self._chat.journal.lookup(str(call.key))
        if entry is not None and entry.outcome is not None:
            self._note_address(call.request.model, entry.address)
            response = self._replay(call, entry.outcome, on_text, counted=entry.counted)
            if not response.usage.cached_calls:
                self._cache_later(call, response, entry.outcome["response"])
            return response
        if entry is not None and entry.intents:
            call.intents = entry.intents  # it may have been answered and billed: reported, and sent again
            return None
        cache = self._chat.cache
        if cache is None or call.slot is None or not call.reads:
            return None
        return await self._find_cached(call, call.slot, cache, on_text)

    async def _find_cached(
        self, call: PendingCall, slot: CacheSlot, cache: CallCache, on_text: OnText | None
    ) -> ChatResponse | None:
        slot, response = await cache.find(slot)
        if slot != call.slot:
            call.slot = slot
            self._slots.append(slot)
        if response is None:
            return None
        done = CallDone(
            call.key,
            response.usage,
            call.request.model,
            0.0,
            False,
            cached=True,
            cache_nth=slot.nth,
            address=call.address,
        )
        self._note_address(call.request.model, call.address)
        await self._outcomes.record({"ok": True, "response": response.to_json()}, done)
        if on_text is not None and response.text:
            on_text(response.text)
        return response

    def _replay(
        self, call: PendingCall, outcome: CallOutcome, on_text: OnText | None, *, counted: bool
    ) -> ChatResponse:
        if not outcome["ok"]:
            error = from_json(outcome["error"])
            usage = Usage(calls=1)
            if isinstance(error, ModelError):
                usage = self._outcomes.usage_of_error(error, call.request)
            usage = Usage() if counted else usage
            self._outcomes.replayed(CallDone(call.key, usage, call.request.model, 0.0, True, error.code))
            raise error
        response = ChatResponse.from_json(outcome["response"], replayed=True)
        usage = Usage() if counted else response.usage
        self._outcomes.replayed(CallDone(call.key, usage, call.request.model, response.seconds, True))
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
        self._note_address(call.request.model, call.address)
        if (preparing := self._chat.prepare(call.request.model)) is not None:
            with waiting():
                await preparing
        hooks = CallHooks(on_text, on_wait, on_again, waiting)
        tries = CallTries(self._chat, self._outcomes, call, hooks, self._cache_later)
        return await tries.send(retry or _DEFAULT_RETRY)

    async def record_batch_answer(
        self, call: PendingCall, read: Callable[[ChatRequest], ChatResponse], *, batch: str
    ) -> ChatResponse:
        """Record an answer that came with a batch, as one that was sent by itself.

        `read(request)` is the answer, without its cost, or raises the ModelError that the provider answered with.
        `batch` is the token of the batch.
        """
        self._note_address(call.request.model, call.address)
        try:
            response = with_checked_usage(read(call.request), call.request)
            check_not_empty(response, call.request)
        except ModelError as error:
            await self._outcomes.record_error(call, error, batch=batch)
            raise
        usage = self._chat.prices.priced(response.usage, call.request.model, response.model, tier=BATCH)
        response = replace(response, usage=usage)
        body = response.to_json()
        await self._outcomes.record_answer(call, response, body, batch=batch)
        self._cache_later(call, response, body)
        return response

    def _note_address(self, model: str, address: str | None) -> None:
        known = self.addresses.get(model)
        if address is not None and known != address:
            self.addresses[model] = (
                address if known is None else f"{known}+{address}"
            )  # no one address has both

    def _cache_later(self, call: PendingCall, response: ChatResponse, body: ChatResponseJson) -> None:
        if call.slot is not None and keepable(response):
            self._answers.append((call.slot, body))
