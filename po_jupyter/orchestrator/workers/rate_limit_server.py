"""The limiter of all workers, in the orchestrator that holds the store (G3). The thinking is in `llm.limits`.

    worker → orchestrator   rate.recall {models: {REF: {past, open, limits}}}   rate.ask {id, model, input, most}
                            rate.drop {id}   rate.used {id, ago, input?, output?, limits?}
                            rate.refused {id, after, limits}
    orchestrator → worker   welcome {rates: {epoch, limited}}   rate.limited {keys}   rate.go {id}
                            rate.no {id, error}   rate.wait {model, seconds, reason, calls}

A worker calls a model that nothing limits without a word. It asks for those whose key is `limited`, and when a
server tells or refuses something it says so, with everything it did in the last window. A worker that cannot be
heard any more is under way with nothing. A new orchestrator starts with what settings say; workers tell it the rest.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Protocol

import structlog

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidSettings, PoError, Violation
from po_jupyter.ipc.messages import (
    IpcMessage,
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
from po_jupyter.llm.rate_limits.limiter import Limiter
from po_jupyter.llm.rate_limits.sliding_window import Cost
from po_jupyter.model.pipeline.violations import did_you_mean

log = structlog.get_logger(__name__)

_TELL = 2.0  # s between words to a worker about what its calls wait for


class Peer(Protocol):
    """A worker's channel."""

    def send(self, message: IpcMessage) -> None:
        """Queue one message."""
        ...


class RateLimits:
    """One limiter and the workers that ask it. Lives on one loop; `close` ends it."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.get_running_loop()
        self._limiter = Limiter(settings.rate_limits, window=settings.rate_window)
        self._cap = settings.retry_after_cap
        self._epoch = secrets.token_hex(4)
        self._peers: dict[str, Peer] = {}
        self._limited = self._limiter.limited()
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._pumping = False

    def join(self, run: str, peer: Peer) -> RateState:
        """A worker is there; what its welcome says of limits."""
        if run in self._peers:
            self._limiter.gone(run, self._loop.time())
        self._peers[run] = peer
        return {"epoch": self._epoch, "limited": sorted(self._limited)}

    def leave(self, run: str, peer: Peer) -> None:
        """A worker hung up, or died."""
        if self._peers.get(run) is peer:
            del self._peers[run]
            self._limiter.gone(run, self._loop.time())
            self._pump_soon()

    def known(self) -> dict[str, dict[str, int]]:
        """What is allowed a window, by provider or model and by kind."""
        return self._limiter.known()

    def heard(self, run: str, message: RateReport) -> None:
        """A worker's word about its calls. User code lives there: what is no such word is logged and changes
        little."""
        try:
            self._heard(run, message)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            log.warning("not understood", run=run, op=message.op, error=repr(error)[:200])
        self._pump_soon()

    def _heard(self, run: str, message: RateReport) -> None:
        limiter, now = self._limiter, self._loop.time()
        match message:
            case RatePermitRequest():
                self._asked(run, message, now)
            case RatePermitDropped():
                limiter.drop(run, message.id, now)
            case RatePermitUsed():
                used = Cost(message.input, message.output or 0) if message.input is not None else None
                limiter.settle(run, message.id, used=used, now=now, ago=message.ago, told=message.limits)
            case RatePermitRefused():
                after = None if message.after is None else min(message.after, self._cap)
                if limiter.refused(run, message.id, now=now, after=after, told=message.limits):
                    log.info("refused", run=run, model=message.model, after=after)
            case RateHistory():
                for model, said in message.models.items():
                    limiter.recall(
                        run,
                        model,
                        past=[(row[0], (row[1], row[2], row[3], row[4])) for row in said["past"]],
                        open=said["open"],
                        told=said.get("limits"),
                        now=now,
                    )

    def _asked(self, run: str, message: RatePermitRequest, now: float) -> None:
        id, model, input = message.id, message.model, max(0, message.input)
        most = None if message.most is None else max(0, message.most)
        if self._limiter.let_go(run, id):
            self._peers[run].send(RatePermitGranted(id))  # that word was lost
            return
        try:
            self._limiter.ask(run, id, model, input=input, most=most, now=now)
        except PoError as error:
            self._peers[run].send(RatePermitDenied(id, error.to_json()))

    # -- letting go -----------------------------------------------------------------------------------
    def _pump_soon(self) -> None:
        # Once for all messages that came together: they arrive in bursts.
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pumped = self._limiter.pump(self._loop.time())
        for ticket in pumped.tickets:
            peer = self._peers.get(ticket.run)
            if peer is not None:
                peer.send(RatePermitGranted(ticket.id))
        if pumped.again is not None:
            self._timer = self._loop.call_at(pumped.again, self._pump)
        limited = self._limiter.limited()
        if limited != self._limited:
            log.info("limits", now=self._limiter.known())
            self._limited = limited
            for peer in self._peers.values():
                peer.send(LimitedModels(sorted(limited)))
        if self._telling is None and self._limiter.busy:
            self._telling = self._loop.call_later(_TELL / 4, self._tell)

    def _tell(self) -> None:
        self._telling = None
        for waiting in self._limiter.waiting(self._loop.time()):
            seconds = None if waiting.seconds is None else round(waiting.seconds, 1)
            message = RatePermitWait(waiting.model, seconds, waiting.reason, waiting.calls)
            waited = round(waiting.waited, 1)
            log.debug("calls wait", run=waiting.run, waited=waited, **message.to_json())
            peer = self._peers.get(waiting.run)
            if peer is not None:
                peer.send(message)
        if self._limiter.busy:
            self._telling = self._loop.call_later(_TELL, self._tell)

    def close(self) -> None:
        """Let nobody go any more."""
        for timer in (self._timer, self._telling):
            if timer is not None:
                timer.cancel()
        self._timer = self._telling = None
        self._peers.clear()
        self._pumping = True


def check_names(settings: Settings) -> None:
    """Raises InvalidSettings when `rate_limits` names a provider that there is not."""
    if not settings.rate_limits:
        return
    from po_jupyter.llm.specs import specs

    known = sorted(specs())
    source = settings.source_of("rate_limits")
    found = []
    for name in settings.rate_limits:
        provider, colon, model = name.partition(":")
        if provider not in known:
            words = f"rate_limits.{name}: there is no provider {provider!r:.60}{did_you_mean(provider, known)}"
            found.append(Violation(source, words))
        elif colon and not model.strip():
            found.append(Violation(source, f"rate_limits.{name}: a model is written `{provider}:NAME`"))
    if found:
        hint = "A key of `rate_limits` is a provider (`openai`) or a model (`openai:gpt-5-mini`). Providers: "
        raise InvalidSettings("the settings cannot be used:", violations=found, hint=hint + ", ".join(known))
