"""The rate-limit client: a worker's end of the orchestrator's limiter (G3).

It is the `Admission` of the worker's calls. A call to a model that nothing limits is sent without asking; for others
the orchestrator (`orchestrator.workers.rate_limit_server`) is asked for a permit. The messages are in `ipc.messages`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

import structlog

from po_jupyter.config import Settings
from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.errors import ModelError, ModelRateLimited, from_json
from po_jupyter.ipc.messages import Welcome
from po_jupyter.ipc.rate_messages import (
    LimitedModels,
    RateHistory,
    RateMessage,
    RatePermitDenied,
    RatePermitDropped,
    RatePermitGranted,
    RatePermitRefused,
    RatePermitRequest,
    RatePermitUsed,
    RatePermitWait,
)
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.llm.bounds import output_limit
from po_jupyter.llm.chat import ChatRequest, ChatResponse, ServerLimits
from po_jupyter.llm.money.tokens import estimate, estimate_messages
from po_jupyter.llm.rate_limits.sliding_window import Cost, SlidingWindow
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.json import JsonObject

log = structlog.get_logger(__name__)

_REPORT_INTERVAL = 5.0  # s between events about what a task waits for
_CLEAR_DELAY = 1.0  # s without a waiting call after which a task waits no more
_RETRY_INTERVAL = 15.0  # s: a request that was lost on the way is sent again
_LONG_WAIT = 0.1  # s of a wait that is worth a line in the log
_SLOTS = 60  # of the window that a new orchestrator is told about

OnRateWait: TypeAlias = Callable[[str, str | None, float | None], None]
"""`(task, what it waits for or None, seconds until the next call may be sent or None)`."""


class MessageLink(Protocol):
    """The part of `worker.orchestrator_link.OrchestratorLink` that is used here."""

    @property
    def connected(self) -> bool:
        """True while an orchestrator hears."""
        ...

    def send(self, message: IpcMessage) -> None:
        """Send a message to the orchestrator, if one is there."""
        ...

    def connect_now(self) -> None:
        """Connect now."""
        ...


class RatePass:
    """The right to send one request; see `llm.calls.admission.Pass`. `reported`: the orchestrator knows of it."""

    __slots__ = ("_client", "granted", "id", "reported", "request", "sent_at", "task")

    def __init__(self, client: RateLimitClient, id: int, request: ChatRequest, task: str) -> None:
        """Not reported, and not waiting."""
        self._client = client
        self.id = id
        self.request = request
        self.task = task
        self.reported = False
        self.sent_at = 0.0
        self.granted: asyncio.Future[None] | None = None

    def sends(self) -> None:
        """See `Pass`."""
        self.sent_at = self._client.now()

    def answered(self, response: ChatResponse) -> None:
        """See `Pass`."""
        self._client.settle(self, _limited_tokens(self.request, response.usage), response.limits)

    def failed(self, error: ModelError) -> None:
        """See `Pass`."""
        if isinstance(error, ModelRateLimited):
            self._client.refused(self, error)
        else:
            usage = Usage.model_validate(error.usage) if error.usage is not None else None
            self._client.settle(self, _limited_tokens(self.request, usage) if usage is not None else None, None)

    def lost(self) -> None:
        """See `Pass`."""
        self._client.settle(self, None, None)

    def unused(self) -> None:
        """See `Pass`."""
        self._client.drop(self)

    def grant(self, error: BaseException | None = None) -> None:
        """End the wait for a permit; with an error it was denied."""
        if self.granted is None or self.granted.done():
            return
        if error is None:
            self.granted.set_result(None)
        else:
            self.granted.set_exception(error)

    @property
    def size(self) -> tuple[int, int | None]:
        """The estimated tokens of the prompt, and the bound of the answer."""
        request = self.request
        prompt = estimate_messages(message.content for message in request.messages)
        if request.schema is not None:
            prompt += estimate(str(request.schema))
        return prompt, output_limit(request)


class RateLimitClient:
    """The admission of a worker's calls, see `llm.calls.admission.Admission`. Lives on one loop."""

    def __init__(
        self,
        link: MessageLink,
        settings: Settings,
        *,
        on_wait: OnRateWait = lambda task, reason, seconds: None,
    ) -> None:
        """`on_wait` is called when a task begins to wait, now and then while it does, and when it does no more."""
        self._link = link
        self._on_wait = on_wait
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._window = settings.rate_window
        self._limited = frozenset(settings.rate_limits)
        self._needs_permit: dict[str, bool] = {}  # by model
        self._ids = itertools.count(1)
        self._sent: dict[int, RatePass] = {}
        self._waiting: dict[int, RatePass] = {}
        self._epoch: str | None = None  # of the orchestrator that knows what was sent
        self._used: dict[str, SlidingWindow] = {}  # in the last window, by model
        self._unreported: dict[str, SlidingWindow] = {}  # the part of it that no orchestrator knows
        self._limits: dict[str, ServerLimits] = {}  # that servers reported last, by model
        self._waiting_of: Counter[str] = Counter()  # calls that wait, by task
        self._reasons: dict[str, str] = {}  # of the last wait for a model
        self._emitted: dict[str, float] = {}  # when `on_wait` was called last, by task
        self._retry_timer: asyncio.TimerHandle | None = None
        self._drained = False

    # -- admission ------------------------------------------------------------------------------------
    def enter(self, request: ChatRequest, task: str) -> RatePass | None:
        """See `Admission`. Raises Drained."""
        if self._drained:
            raise Drained
        needs_permit = self._needs_permit.get(request.model)
        if needs_permit is None:
            needs_permit = self._needs_permit[request.model] = self._is_limited(request.model)
        if needs_permit:
            return None
        admitted = RatePass(self, next(self._ids), request, task)
        admitted.sent_at = self.now()
        self._sent[admitted.id] = admitted
        return admitted

    async def wait(self, request: ChatRequest, task: str) -> RatePass:
        """See `Admission`. Raises ModelRefused, Drained."""
        waiting = RatePass(self, next(self._ids), request, task)
        waiting.reported = True
        waiting.granted = self._loop.create_future()
        self._waiting[waiting.id] = waiting
        self._waiting_of[task] += 1
        since = self.now()
        self._link.connect_now()
        self._request_permit(waiting)
        if self._retry_timer is None:
            self._retry_timer = self._loop.call_later(_RETRY_INTERVAL, self._request_again)
        try:
            await waiting.granted
        except BaseException:
            self._link.send(RatePermitDropped(waiting.id))
            raise
        finally:
            del self._waiting[waiting.id]
            self._waiting_of[task] -= 1
            if not self._waiting_of[task] and task in self._emitted:
                self._loop.call_later(_CLEAR_DELAY, self._clear_wait, task)
        waiting.sent_at = self.now()
        seconds = waiting.sent_at - since
        if seconds >= _LONG_WAIT:
            reason = self._reasons.get(request.model)
            log.debug("call waited", task=task, model=request.model, seconds=round(seconds, 3), why=reason)
        self._sent[waiting.id] = waiting
        return waiting

    def drain(self) -> None:
        """End every wait with Drained; nothing is sent any more."""
        self._drained = True
        for waiting in list(self._waiting.values()):
            waiting.grant(Drained())
        if self._retry_timer is not None:
            self._retry_timer.cancel()

    def _request_permit(self, waiting: RatePass) -> None:
        prompt, max_output = waiting.size
        self._link.send(RatePermitRequest(waiting.id, waiting.request.model, prompt, max_output))

    def _request_again(self) -> None:
        self._retry_timer = None
        for waiting in self._waiting.values():
            self._request_permit(waiting)
        if self._waiting:
            self._retry_timer = self._loop.call_later(_RETRY_INTERVAL, self._request_again)

    # -- results of requests ----------------------------------------------------------------------------
    def settle(self, sent: RatePass, used: Cost | None, limits: ServerLimits | None) -> None:
        """Count a request that was answered, or failed otherwise than by a limit."""
        model = sent.request.model
        if limits:
            self._limits[model] = limits
            if not sent.reported:
                self._report_history({model})
        del self._sent[sent.id]
        amounts = (used or Cost()).amounts
        now = self.now()
        self._window_of(self._used, model).add(sent.sent_at, amounts, now=now)
        if not sent.reported:
            self._window_of(self._unreported, model).add(sent.sent_at, amounts, now=now)
            return
        input, output = (used.input, used.output) if used is not None else (None, None)
        ago = round(now - sent.sent_at, 4)
        self._link.send(RatePermitUsed(sent.id, ago, input=input, output=output, limits=_as_json(limits)))

    def refused(self, sent: RatePass, error: ModelRateLimited) -> None:
        """Report a request that its server refused (429)."""
        model = sent.request.model
        limits: ServerLimits | None = dict(error.limits) if error.limits else None
        if limits:
            self._limits[model] = limits
        if not sent.reported:
            self._report_history({model})
        del self._sent[sent.id]
        self._link.send(RatePermitRefused(sent.id, model, error.retry_after, limits=_as_json(limits)))

    def drop(self, admitted: RatePass) -> None:
        """Give back a pass whose request was not sent."""
        del self._sent[admitted.id]
        if admitted.reported:
            self._link.send(RatePermitDropped(admitted.id))

    def _window_of(self, windows: dict[str, SlidingWindow], model: str) -> SlidingWindow:
        window = windows.get(model)
        if window is None:
            window = windows[model] = SlidingWindow(self._window, slots=_SLOTS)
        return window

    # -- messages of the orchestrator -------------------------------------------------------------------
    def welcome(self, message: Welcome) -> None:
        """Report to an orchestrator that is connected now what it does not know, and ask again."""
        rates = message.rates
        epoch = rates["epoch"] if rates is not None else None
        if epoch != self._epoch:
            self._epoch = epoch
            now = self.now()
            self._unreported = {model: window.copy(now) for model, window in self._used.items()}
        for sent in self._sent.values():
            sent.reported = False  # when a connection ends, nothing counts as in flight
        self._set_limited(rates["limited"] if rates is not None else (), also=self._limits)
        for waiting in self._waiting.values():
            self._request_permit(waiting)

    def receive(self, message: RateMessage) -> None:
        """Handle a message about calls of this worker."""
        match message:
            case RatePermitGranted():
                if (waiting := self._waiting.get(message.id)) is not None:
                    waiting.grant()
                elif message.id not in self._sent:
                    self._link.send(RatePermitDropped(message.id))
            case RatePermitDenied():
                if (waiting := self._waiting.get(message.id)) is not None:
                    waiting.grant(from_json(message.error))
            case LimitedModels():
                self._set_limited(message.keys)
            case RatePermitWait():
                self._emit_wait(message.model, message.reason, message.seconds)

    def _set_limited(self, keys: Iterable[str], also: Iterable[str] = ()) -> None:
        self._limited = frozenset(keys)
        self._needs_permit.clear()
        unreported = (sent.request.model for sent in self._sent.values() if not sent.reported)
        models = {*self._unreported, *unreported}
        self._report_history({*also, *(model for model in models if self._is_limited(model))})

    def _is_limited(self, model: str) -> bool:
        return model in self._limited or model.partition(":")[0] in self._limited

    def _report_history(self, models: Iterable[str]) -> None:
        """Report what was sent without asking. From now on the orchestrator knows it."""
        if not self._link.connected:
            return
        now = self.now()
        histories: JsonObject = {}
        for model in models:
            window = self._unreported.pop(model, None)
            past = (
                [[round(ago, 3), *amounts] for ago, amounts in window.rows(now)] if window is not None else []
            )
            in_flight = [s for s in self._sent.values() if not s.reported and s.request.model == model]
            for sent in in_flight:
                sent.reported = True
            histories[model] = {
                "past": past,
                "open": [[sent.id, round(now - sent.sent_at, 3), *sent.size] for sent in in_flight],
                "limits": self._limits.get(model),
            }
        if histories:
            self._link.send(RateHistory(histories))

    # -- waits, for people --------------------------------------------------------------------------------
    def _emit_wait(self, model: str, reason: str, seconds: float | None) -> None:
        now = self.now()
        self._reasons[model] = reason
        tasks = {waiting.task for waiting in self._waiting.values() if waiting.request.model == model}
        for task in sorted(tasks):
            if now - self._emitted.get(task, float("-inf")) >= _REPORT_INTERVAL:
                self._emitted[task] = now
                self._on_wait(task, reason, seconds)

    def _clear_wait(self, task: str) -> None:
        if not self._waiting_of[task] and self._emitted.pop(task, None) is not None:
            self._on_wait(task, None, None)


def _as_json(limits: ServerLimits | None) -> JsonObject | None:
    return dict(limits) if limits else None


def _limited_tokens(request: ChatRequest, usage: Usage) -> Cost:
    """The tokens that count against limits. Anthropic counts none that it read from its cache ("Rate limits")."""
    input = usage.input_tokens
    if request.provider == "anthropic":
        input -= usage.cached_tokens
    return Cost(input, usage.output_tokens)
