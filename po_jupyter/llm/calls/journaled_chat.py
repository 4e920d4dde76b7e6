"""Calls that go through the journal: asked, replayed, retried, priced, cached (see `llm.journal` for the why)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from po_jupyter.errors import ModelError, from_json
from po_jupyter.llm.calls.admission import UNLIMITED, Admission, Pass
from po_jupyter.llm.calls.cache import CallCache, Place, keepable
from po_jupyter.llm.calls.journal import CallDone, CallKey, Journal
from po_jupyter.llm.calls.retry import RETRY_AFTER_CAP, OnWait, with_retry
from po_jupyter.llm.chat import CacheMode, ChatRequest, ChatResponse, OnText, Provider
from po_jupyter.llm.money.pricing import priced
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.model.run.usage import Usage

OnDone: TypeAlias = Callable[[CallDone], None]
OnUnknown: TypeAlias = Callable[[CallKey], None]
Waiting: TypeAlias = Callable[[], AbstractContextManager[None]]
OnAgain: TypeAlias = Callable[[ModelError], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class JournaledChat:
    """Every call of a run goes through here: journal, cache, retries, price.

    `provider_of` finds the provider of a model ref (`Providers.get`). `retry_after_cap` is the longest wait in
    seconds that a server may ask for. `on_done` and `on_unknown` are told as it happens; they must be quick.
    `admission` lets each request go. `sleep` is how the wait between two tries is waited: it may raise what ends
    the call there.
    """

    provider_of: Callable[[str], Provider]
    journal: Journal
    on_done: OnDone | None = None
    on_unknown: OnUnknown | None = None
    retry_after_cap: float = RETRY_AFTER_CAP
    admission: Admission = UNLIMITED
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    cache: CallCache | None = None

    def scope(self, task: str, *, item: int | None = None, attempt: int = 1) -> CallScope:
        """The calls of one attempt of a task or an item."""
        return CallScope(self, task, item, attempt)


@dataclass(slots=True, eq=False)
class Asking:
    """One call on its way. `intents`: how often it was about to be sent; `place`: where the cache has its answer,
    `reads`: and may be asked for it; `unsent`: it was stopped while its last intent was written."""

    key: CallKey
    request: ChatRequest
    place: Place | None = None
    reads: bool = False
    intents: int = 0
    unsent: bool = False


class CallScope:
    """The calls of one attempt of a task or an item: it counts occurrences and sums up what they used.

    `usage` is the sum over its calls, failed and replayed ones included. `in_flight` counts the calls that were
    sent and have no outcome: after a cancellation those are the ones that may have been billed.
    """

    __slots__ = (
        "_answers", "_chat", "_given_up", "_places", "_seen", "attempt", "in_flight", "item", "task", "usage",
    )  # fmt: skip

    def __init__(self, chat: JournaledChat, task: str, item: int | None, attempt: int) -> None:
        self._chat = chat
        self._seen: Counter[tuple[int, str, str]] = Counter()
        self.task = task
        self.item = item
        self.attempt = attempt
        self.usage = Usage()
        self.in_flight = 0
        self._places: list[Place] = []
        self._answers: list[tuple[Place, Mapping[str, Any]]] = []  # for the cache, once the attempt succeeded
        self._given_up = Usage()

    def given_up(self) -> Usage:
        """What withdrawn calls used since this was last asked; it is not in `usage`."""
        used, self._given_up = self._given_up, Usage()
        return used

    def keep(self) -> None:
        """The attempt succeeded: its answers may be used by later runs."""
        if self._answers and self._chat.cache is not None:
            self._chat.cache.keep(self._answers)
        self._answers, self._places = [], []

    def drop(self) -> None:
        """The attempt failed: the next one asks the same anew."""
        if self._places and self._chat.cache is not None:
            self._chat.cache.release(self._places)
        self._answers, self._places = [], []

    async def chat(
        self,
        request: ChatRequest,
        *,
        stage: str = "inference",
        round: int = 0,
        retry: CallRetry | None = None,
        on_text: OnText | None = None,
        on_wait: OnWait | None = None,
        waiting: Waiting = nullcontext,
        on_again: OnAgain | None = None,
    ) -> ChatResponse:
        """Ask, or replay. Raises a ModelError, the recorded one when the call failed before.

        `on_text` gets the pieces as they come; a second try after a broken stream starts again from the first
        piece, so a caller that shows text clears it on `on_wait`. A replay hands over the whole text at once.
        """
        call = self.call(request, stage=stage, round=round)
        known = await self.recall(call, on_text=on_text)
        if known is not None:
            return known
        return await self.ask(
            call, retry=retry, on_text=on_text, on_wait=on_wait, on_again=on_again, waiting=waiting
        )

    def call(
        self, request: ChatRequest, *, stage: str = "inference", round: int = 0, cache: CacheMode = False
    ) -> Asking:
        """The next call of that request: it has its number from now on. First `recall` it, then `ask`.

        `cache`: whether the cache may answer it and gets its answer; "refresh": only the latter.
        """
        nth = self._seen[round, stage, request.request_hash]
        self._seen[round, stage, request.request_hash] += 1
        key = CallKey(self.task, self.item, self.attempt, round, stage, request.request_hash, nth)
        place = None
        if cache and self._chat.cache is not None:
            place = self._chat.cache.place(request)
        if place is not None:
            self._places.append(place)
        return Asking(key, request, place, reads=cache is True)

    async def recall(self, call: Asking, *, on_text: OnText | None = None) -> ChatResponse | None:
        """The answer that is known already, from the journal or the cache; None: it has to be asked for. Raises
        the recorded ModelError."""
        entry = await self._chat.journal.lookup(str(call.key))
        if entry is not None and entry.answer is not None:
            response = self._replay(call.key, call.request, entry.answer, on_text)
            if not response.usage.cached_calls:
                self._keep_later(call, response, entry.answer["response"])
            return response
        if entry is not None and entry.intents:
            call.intents = entry.intents  # it may have been answered and billed: that is told and sent again
        elif call.reads and call.place is not None and self._chat.cache is not None:
            place, found = await self._chat.cache.find(call.place)
            if place != call.place:
                call.place = place
                self._places.append(place)
            if found is not None:
                model, nth = call.request.model, place.nth
                done = CallDone(call.key, found.usage, model, 0.0, False, cached=True, place=nth)
                await self._record(str(call.key), {"ok": True, "response": found.to_json()}, done)
                if on_text is not None and found.text:
                    on_text(found.text)
                return found
        return None

    def _keep_later(self, call: Asking, response: ChatResponse, said: Mapping[str, Any]) -> None:
        if call.place is not None and keepable(response):
            self._answers.append((call.place, said))

    async def ask(
        self,
        call: Asking,
        *,
        retry: CallRetry | None = None,
        on_text: OnText | None = None,
        on_wait: OnWait | None = None,
        on_again: OnAgain | None = None,
        waiting: Waiting = nullcontext,
    ) -> ChatResponse:
        """Send it, and record what came. Raises a ModelError.

        `on_again` is awaited before a try that follows one which was, or may have been, billed; what it raises
        ends the call. What a limiter makes a try wait is waited for inside `waiting()`.
        """
        journal = self._chat.journal
        key, request, intents = call.key, call.request, call.intents
        name = str(key)
        provider = self._chat.provider_of(request.model)  # a missing key is found before anything is recorded
        try:
            passes = [await self._about_to_send(call, intents, waiting)]
        except BaseException:
            if call.unsent:
                journal.withdrawn(name, Usage())
            raise
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.in_flight += 1
        lost: list[Usage] = []  # by attempts that broke in the middle of their answer
        sent = False  # and not answered: what ends now may have been billed
        failed: ModelError | None = None  # the try before

        async def send() -> ChatResponse:
            nonlocal sent, failed, intents
            if failed is not None:
                sent = failed.may_be_billed
                if on_again is not None and (sent or failed.usage is not None):
                    await on_again(failed)
            if passes:
                admitted = passes.pop()
            elif sent:  # the try before stays an intent without an answer, and this one has its own
                intents += 1
                admitted = await self._about_to_send(call, intents, waiting)
            else:
                admitted = await self._admitted(request, waiting)
            sent = True
            admitted.sends()
            try:
                response = await provider.chat(request, on_text=on_text)
            except ModelError as error:
                sent, failed = error.may_be_billed, error
                admitted.failed(error)
                raise
            except BaseException:
                admitted.lost()
                raise
            admitted.answered(response)
            return response

        def waited(attempt: int, delay: float, error: ModelError) -> None:
            if error.usage is not None:
                lost.append(_usage_of_error(error, request))
            if on_wait is not None:
                on_wait(attempt, delay, error)

        try:
            response = await with_retry(
                send,
                retry or CallRetry(),
                on_wait=waited,
                cap=self._chat.retry_after_cap,
                sleep=self._chat.sleep,
            )
        except ModelError as error:
            usage = _with_lost(_usage_of_error(error, request), lost)
            if lost:
                error.usage = usage.to_json()
            done = CallDone(key, usage, request.model, loop.time() - started, False, error.code)
            self.in_flight -= 1
            await self._record(name, {"ok": False, "error": error.to_json()}, done)
            raise
        except BaseException:
            if not sent or call.unsent:
                self.in_flight -= 1
                used = _with_lost(Usage(), lost)
                self._given_up = self._given_up + used
                journal.withdrawn(name, used)
            raise
        usage = _with_lost(priced(response.usage, request.model, response.model), lost)
        if usage is not response.usage:
            response = replace(response, usage=usage)
        done = CallDone(key, usage, request.model, loop.time() - started, False)
        said = response.to_json()
        self._keep_later(call, response, said)
        self.in_flight -= 1
        await self._record(name, {"ok": True, "response": said}, done)
        return response

    async def collected(
        self, call: Asking, read: Callable[[ChatRequest], ChatResponse], *, batch: str
    ) -> ChatResponse:
        """Record an answer that came with a batch, as one that was sent by itself. `read(request)` is the answer,
        with its cost, or raises the ModelError that the provider answered with."""
        key, request = call.key, call.request
        try:
            response = read(request)
        except ModelError as error:
            usage = _usage_of_error(error, request)
            done = CallDone(key, usage, request.model, 0.0, False, error.code, batch=batch)
            await self._record(str(key), {"ok": False, "error": error.to_json()}, done)
            raise
        done = CallDone(key, response.usage, request.model, 0.0, False, batch=batch)
        said = response.to_json()
        self._keep_later(call, response, said)
        await self._record(str(key), {"ok": True, "response": said}, done)
        return response

    async def _about_to_send(self, call: Asking, intents: int, waiting: Waiting) -> Pass:
        """Record that the call is about to be sent, and only once it may be: one that is stopped while it waits
        was never about to."""
        key = call.key
        admitted = await self._admitted(call.request, waiting)
        try:
            if intents and self._chat.on_unknown is not None:
                self._chat.on_unknown(key)
            meta = {"model": call.request.model, "stage": key.stage, "intents": intents}
            await self._chat.journal.intent(str(key), meta)
        except BaseException as error:
            admitted.unused()
            call.unsent = isinstance(error, asyncio.CancelledError)  # the record is on its way all the same
            raise
        return admitted

    async def _admitted(self, request: ChatRequest, waiting: Waiting) -> Pass:
        admission = self._chat.admission
        found = admission.enter(request, self.task)
        if found is None:
            with waiting():
                found = await admission.wait(request, self.task)
        return found

    async def _record(self, name: str, answer: Mapping[str, Any], done: CallDone) -> None:
        # An answer that came has been paid for: a cancellation that arrives now must not lose it. The write
        # goes on by itself, and the cancellation is passed on after it.
        self.usage = self.usage + done.usage
        write = self._chat.journal.response(name, answer, done)
        if self._chat.journal.queues:
            await write
        else:
            await _whole(write)
        if self._chat.on_done is not None:
            self._chat.on_done(done)

    def _replay(
        self, key: CallKey, request: ChatRequest, answer: Mapping[str, Any], on_text: OnText | None
    ) -> ChatResponse:
        if not answer.get("ok"):
            error = from_json(answer["error"])
            usage = _usage_of_error(error, request) if isinstance(error, ModelError) else Usage(calls=1)
            self._replayed(CallDone(key, usage, request.model, 0.0, True, error.code))
            raise error
        response = ChatResponse.from_json(answer["response"], replayed=True)
        self._replayed(CallDone(key, response.usage, request.model, response.seconds, True))
        if on_text is not None and response.text:
            on_text(response.text)
        return response

    def _replayed(self, done: CallDone) -> None:
        self.usage = self.usage + done.usage
        if self._chat.on_done is not None:
            self._chat.on_done(done)


async def _whole(write: Any) -> None:
    """Await `write` to its end even when cancelled meanwhile; then be cancelled."""
    task = asyncio.ensure_future(write)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.cancelled():
            await asyncio.wait([task])
            task.result()
        raise


def _with_lost(usage: Usage, lost: list[Usage]) -> Usage:
    """The usage of a call with that of its attempts that broke: one call all the same, and one bill."""
    for more in lost:
        usage = (usage + more).model_copy(update={"calls": usage.calls})
    return usage


def _usage_of_error(error: ModelError, request: ChatRequest) -> Usage:
    """What a failed call used: a truncated answer was paid for, a refused connection was not, and of a timeout
    nobody knows."""
    said = error.usage
    if said is None:
        if not error.may_be_billed:
            return Usage(calls=1)
        said = Usage(calls=1, unknown=1).to_json()
    usage = priced(Usage.model_validate(said), request.model, error.model)
    error.usage = usage.to_json()
    return usage
