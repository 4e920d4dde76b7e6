"""The rate-limit server: one limiter for all workers, in the orchestrator that holds the store (G3).

`llm.rate_limits.limiter` decides; this end speaks with the workers (`worker.rate_limit_client` is the other end, the
messages are in `ipc.messages`). A worker sends calls to a model that nothing limits without asking. It asks for
permits for those whose key is limited, and reports what a server says of its limits or refuses, with everything that
it did in the last window. When a connection ends, none of the worker's calls counts as in flight any more. A new
orchestrator starts with the limits of the settings; workers report the rest.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Protocol

import structlog

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidSettings, PoError, Violation
from po_jupyter.ipc.messages import CallWait
from po_jupyter.ipc.rate_messages import (
    LimitedModels,
    RateHistory,
    RatePermitDenied,
    RatePermitDropped,
    RatePermitGranted,
    RatePermitRefused,
    RatePermitRequest,
    RatePermitUsed,
    RatePermitWait,
    RateReport,
    RateState,
)
from po_jupyter.ipc.wire import IpcMessage
from po_jupyter.llm.rate_limits.demands import Demands, Shares
from po_jupyter.llm.rate_limits.limiter import Limiter
from po_jupyter.llm.rate_limits.sliding_window import Cost
from po_jupyter.model.pipeline.violations import did_you_mean

log = structlog.get_logger(__name__)

_MOST_WAITS = 200  # that are told to people
_REPORT_INTERVAL = 2.0  # s between messages to a worker about what its calls wait for


class WorkerChannel(Protocol):
    """The sending end of a worker's channel."""

    def send(self, message: IpcMessage) -> None:
        """Queue one message."""
        ...


class RateLimitServer:
    """The limiter of an orchestrator and the channels of its workers. Lives on one loop; `close` ends it."""

    def __init__(self, settings: Settings) -> None:
        """A limiter with the limits of the settings. Needs a running loop."""
        self._loop = asyncio.get_running_loop()
        self._limiter = Limiter(settings.rate_limits, window=settings.rate_window)
        self._shares: Shares | None = None  # of the limits; None: all of them
        self._until = float("inf")
        self._retry_after_cap = settings.retry_after_cap
        self._epoch = secrets.token_hex(4)
        self._channels: dict[str, WorkerChannel] = {}
        self._limited = self._limiter.limited_keys()
        self._admit_timer: asyncio.TimerHandle | None = None
        self._report_timer: asyncio.TimerHandle | None = None
        self._admitting = False  # soon

    def connect(self, run: str, channel: WorkerChannel) -> RateState:
        """Take a worker in; the state of the limiter for its welcome."""
        if run in self._channels:
            self._limiter.disconnect(run, self._loop.time())
        self._channels[run] = channel
        return {"epoch": self._epoch, "limited": sorted(self._limited)}

    def disconnect(self, run: str, channel: WorkerChannel) -> None:
        """Forget a worker whose connection ended."""
        if self._channels.get(run) is channel:
            del self._channels[run]
            self._limiter.disconnect(run, self._loop.time())
            self._admit_soon()

    def limits(self) -> dict[str, dict[str, int]]:
        """The limits of a window, by provider or model and by kind."""
        return self._limiter.limits()

    @property
    def busy(self) -> bool:
        """True while calls wait."""
        return self._limiter.busy

    def set_shares(self, shares: Shares, until: float) -> None:
        """Use so much of the settings' limits, the rest is other nodes'; from `until` (of `time.monotonic`) on nothing,
        unless it is called again."""
        self._until = until
        if shares != self._shares:
            self._shares = dict(shares)
            self._limiter.set_shares(shares)
            self._admit_soon()

    def demands(self) -> Demands:
        """What the calls of all workers used and need of the settings' limits."""
        return self._limiter.demands(self._loop.time())

    def waits(self) -> list[CallWait]:
        """The calls that wait, of each run and model, at most 200."""
        waiting = self._limiter.waiting(self._loop.time())[:_MOST_WAITS]
        return [
            {
                "run": one.run, "model": one.model, "calls": one.calls, "reason": one.reason,
                "seconds": None if one.seconds is None else round(one.seconds, 1), "waited": round(one.waited, 1),
            }
            for one in waiting
        ]  # fmt: skip

    def receive(self, run: str, message: RateReport) -> None:
        """Handle a message of a worker. User code lives there: nonsense is logged and changes little."""
        try:
            self._handle(run, message)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            log.warning("not understood", run=run, op=message.op, error=repr(error)[:200])
        self._admit_soon()

    def _handle(self, run: str, message: RateReport) -> None:
        limiter, now = self._limiter, self._loop.time()
        match message:
            case RatePermitRequest():
                self._enqueue(run, message, now)
            case RatePermitDropped():
                limiter.cancel(run, message.id, now)
            case RatePermitUsed():
                used = Cost(message.input, message.output or 0) if message.input is not None else None
                limiter.settle(run, message.id, used=used, now=now, ago=message.ago, limits=message.limits)
            case RatePermitRefused():
                after = None if message.after is None else min(message.after, self._retry_after_cap)
                if limiter.refused(run, message.id, now=now, after=after, limits=message.limits):
                    log.info("refused", run=run, model=message.model, after=after)
            case RateHistory():
                for model, history in message.models.items():
                    limiter.adopt(
                        run,
                        model,
                        past=[(row[0], (row[1], row[2], row[3], row[4])) for row in history["past"]],
                        open=history["open"],
                        limits=history.get("limits"),
                        now=now,
                    )

    def _enqueue(self, run: str, message: RatePermitRequest, now: float) -> None:
        id, channel = message.id, self._channels[run]
        if self._limiter.is_admitted(run, id):
            channel.send(RatePermitGranted(id))  # the first grant was lost
            return
        max_output = None if message.most is None else max(0, message.most)
        try:
            self._limiter.enqueue(
                run, id, message.model, input=max(0, message.input), max_output=max_output, now=now
            )
        except PoError as error:
            channel.send(RatePermitDenied(id, error.to_json()))

    # -- admission --------------------------------------------------------------------------------------
    def _admit_soon(self) -> None:
        # Once for all messages that came together: they arrive in bursts.
        if not self._admitting:
            self._admitting = True
            self._loop.call_soon(self._admit)

    def _admit(self) -> None:
        self._admitting = False
        if self._admit_timer is not None:
            self._admit_timer.cancel()
            self._admit_timer = None
        if self._loop.time() >= self._until:
            self.set_shares({}, float("inf"))
        admitted = self._limiter.admit(self._loop.time())
        for ticket in admitted.tickets:
            channel = self._channels.get(ticket.run)
            if channel is not None:
                channel.send(RatePermitGranted(ticket.id))
        if admitted.again is not None:
            self._admit_timer = self._loop.call_at(admitted.again, self._admit)
        limited = self._limiter.limited_keys()
        if limited != self._limited:
            log.info("limits", now=self._limiter.limits())
            self._limited = limited
            for channel in self._channels.values():
                channel.send(LimitedModels(sorted(limited)))
        if self._report_timer is None and self._limiter.busy:
            self._report_timer = self._loop.call_later(_REPORT_INTERVAL / 4, self._report_waits)

    def _report_waits(self) -> None:
        self._report_timer = None
        for waiting in self._limiter.waiting(self._loop.time()):
            seconds = None if waiting.seconds is None else round(waiting.seconds, 1)
            message = RatePermitWait(waiting.model, seconds, waiting.reason, waiting.calls)
            waited = round(waiting.waited, 1)
            log.debug("calls wait", run=waiting.run, waited=waited, **message.to_json())
            channel = self._channels.get(waiting.run)
            if channel is not None:
                channel.send(message)
        if self._limiter.busy:
            self._report_timer = self._loop.call_later(_REPORT_INTERVAL, self._report_waits)

    def close(self) -> None:
        """Admit no more calls."""
        for timer in (self._admit_timer, self._report_timer):
            if timer is not None:
                timer.cancel()
        self._admit_timer = self._report_timer = None
        self._channels.clear()
        self._admitting = True


def check_limit_names(settings: Settings) -> None:
    """Raises InvalidSettings when `rate_limits` names a provider that does not exist."""
    if not settings.rate_limits:
        return
    from po_jupyter.llm.specs import specs

    providers = sorted(specs())
    source = settings.source_of("rate_limits")
    violations = []
    for name in settings.rate_limits:
        provider, colon, model = name.partition(":")
        if provider not in providers:
            guess = did_you_mean(provider, providers)
            message = f"rate_limits.{name}: there is no provider {provider!r:.60}{guess}"
            violations.append(Violation(source, message))
        elif colon and not model.strip():
            violations.append(Violation(source, f"rate_limits.{name}: a model is written `{provider}:NAME`"))
    if violations:
        hint = "A key of `rate_limits` is a provider (`openai`) or a model (`openai:gpt-5-mini`). Providers: "
        raise InvalidSettings(
            "the settings cannot be used:", violations=violations, hint=hint + ", ".join(providers)
        )
