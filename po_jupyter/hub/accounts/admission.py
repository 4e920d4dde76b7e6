"""Admission: a call gets its reservation at once, waits a short while for it, or is turned away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from po_jupyter.hub.accounts.balances import Admitted, Balances, Demand, Hold, Waiting
from po_jupyter.hub.accounts.fair_queue import FairQueue
from po_jupyter.hub.config import QueueConfig
from po_jupyter.hub.problems import GatewayProblem

_WAIT = 1.0  # seconds that a client is told to wait for a call to end


@dataclass(slots=True, eq=False)
class _QueuedCall:
    id: str
    demand: Demand
    future: asyncio.Future[Hold]
    reason: Waiting | None = None


class Admission:
    """The door to the vendors: balances, and a queue before them."""

    def __init__(
        self, balances: Balances, queue: Callable[[], QueueConfig], clock: Callable[[], float]
    ) -> None:
        """`clock` gives seconds since 1970."""
        self.balances = balances
        self._config = queue
        self._clock = clock
        self._queue: FairQueue[_QueuedCall] = FairQueue()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """The calls that wait."""
        return len(self._queue)

    async def admit(self, id: str, demand: Demand) -> Hold:
        """The reservation of a call. Raises GatewayProblem."""
        now = self._clock()
        if not len(self._queue):
            verdict = self.balances.verdict(demand, now)
            if isinstance(verdict, Admitted):
                return self.balances.reserve(id, demand, now)
        return await self._wait(id, demand)

    def settle(self, hold: Hold, tokens: int, nano: int) -> None:
        """Settle a reservation; whoever waited for it gets in."""
        self.balances.settle(hold, tokens, nano)
        if len(self._queue):
            self._admit_waiting()

    async def _wait(self, id: str, demand: Demand) -> Hold:
        config, queue = self._config(), self._queue
        call = _QueuedCall(id, demand, asyncio.get_running_loop().create_future())
        queue.push(demand.user, demand.provider, call)
        self._admit_waiting()
        if call.future.done():
            return call.future.result()
        if len(queue) > config.total or queue.of_user(demand.user) > config.per_user:
            queue.discard(demand.user, demand.provider, call)
            raise _turned_away(call, "the queue is full")
        try:
            async with asyncio.timeout(config.seconds):
                return await call.future
        except TimeoutError:
            if call.future.done() and not call.future.cancelled():
                return call.future.result()  # in the same moment
            raise _turned_away(call, f"no room within {config.seconds:g} s") from None
        except asyncio.CancelledError:
            if call.future.done() and not call.future.cancelled() and call.future.exception() is None:
                self.settle(call.future.result(), 0, 0)
            raise
        finally:
            queue.discard(demand.user, demand.provider, call)

    def _admit_waiting(self) -> None:
        seconds = self._queue.admit(self._attempt)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None and len(self._queue):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(seconds, 0.01), self._admit_waiting)

    def _attempt(self, call: _QueuedCall) -> Admitted | Waiting | None:
        if call.future.done():
            return None
        now = self._clock()
        try:
            verdict = self.balances.verdict(call.demand, now)
        except GatewayProblem as problem:
            call.future.set_exception(problem)
            return None
        if isinstance(verdict, Admitted):
            call.future.set_result(self.balances.reserve(call.id, call.demand, now))
        else:
            call.reason = verdict
        return verdict


def _turned_away(call: _QueuedCall, what: str) -> GatewayProblem:
    reason = call.reason
    seconds = reason.seconds if reason is not None and reason.seconds is not None else _WAIT
    text = f"{what}: {reason.reason}" if reason is not None else f"{what}: other calls are before this one"
    return GatewayProblem(429, "rate_limited", text, retry_after=seconds)
