"""The bound of a worker's open calls: no more than it has descriptors for.

A call holds a connection. What has no descriptor left cannot be connected, and worse: after an answer nothing can be
opened any more that is needed for what follows. So `max_concurrency` is lowered where the process cannot hold it, and
people see that it is. It is an `Admission` around the limiter's.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable

import structlog

from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.errors import ModelError
from po_jupyter.llm.calls.admission import Admission, Pass
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from po_jupyter.llm.providers.refs import runs_code
from po_jupyter.platform import open_files
from po_jupyter.worker.rate_limit_client import OnRateWait

log = structlog.get_logger(__name__)

RESERVE = 64  # descriptors for everything else: the store, files, imports, what tasks open
_OF_AGENT = 8  # descriptors of a CLI agent: pipes of a process, and those of its start


class CallSlots:
    """The open calls of a process, at most as many as it has descriptors for. Lives on one loop."""

    def __init__(self, left: Callable[[], int | None] = open_files.left) -> None:
        """`left` counts the descriptors that are free."""
        self._left = left
        free = left()
        self.most = None if free is None else max(1, free - RESERVE)  # descriptors of all open calls
        self._open = 0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    def is_free(self, size: int) -> bool:
        """Whether a call of that many descriptors may be opened now, before those that wait."""
        return not self._waiting and self._has_room(size)

    def opened(self, size: int) -> None:
        """Count an open call."""
        self._open += size

    def closed(self, size: int) -> None:
        """A call is over: others may be sent."""
        self._open -= size
        self._grant()

    async def room(self, size: int, granted: asyncio.Future[None]) -> None:
        """Wait for room, or for whoever ends `granted` otherwise."""
        entry = (granted, size)
        self._waiting.append(entry)
        try:
            await granted
        finally:
            self._waiting.remove(entry)
            asyncio.get_running_loop().call_soon(self._grant)  # one that was stopped may have had room

    def _grant(self) -> None:
        promised = 0
        for granted, size in self._waiting:
            if granted.done():
                promised += size
            elif self._has_room(size, promised):
                granted.set_result(None)
                promised += size
            else:
                return

    def _has_room(self, size: int, promised: int = 0) -> bool:
        taken = self._open + promised
        if self.most is None or not taken:
            return True  # one call always goes: there is nothing that it could wait for
        if taken + size > self.most:
            return False
        # Connections that wait for their next call are open too, and so is what tasks open themselves.
        if taken * 2 < self.most:
            return True
        free = self._left()
        return free is None or free >= RESERVE + promised + size

    @property
    def reason(self) -> str:
        """Why calls wait, for people."""
        return (
            f"max_concurrency is lowered to {self._open}: this process may have {open_files.limit()} files open "
            "(`ulimit -n`)"
        )


class OpenCalls:
    """The calls of a run that are open, in the slots of its process. Lives on one loop."""

    def __init__(
        self,
        inner: Admission,
        slots: CallSlots,
        *,
        on_wait: OnRateWait = lambda task, reason, seconds: None,
    ) -> None:
        """`inner` admits what this lets through. `on_wait` is called when a task begins to wait and when it waits no
        more."""
        self._inner = inner
        self._slots = slots
        self._on_wait = on_wait
        self._waiting: set[asyncio.Future[None]] = set()
        self._waiting_of: Counter[str] = Counter()  # calls that wait, by task
        self._drained = False

    def enter(self, request: ChatRequest, task: str) -> Pass | None:
        """See `Admission`. Raises Drained."""
        size = _size(request)
        if not self._drained and not self._slots.is_free(size):
            return None
        admitted = self._inner.enter(request, task)
        return None if admitted is None else self._opened(admitted, size)

    async def wait(self, request: ChatRequest, task: str) -> Pass:
        """See `Admission`. Raises ModelRefused, Drained."""
        # The limiter first: calls that wait for it must not take the room of a model that nothing limits.
        size = _size(request)
        admitted = self._inner.enter(request, task) or await self._inner.wait(request, task)
        try:
            if not self._slots.is_free(size):
                await self._room(size, task)
        except BaseException:
            admitted.unused()
            raise
        return self._opened(admitted, size)

    def drain(self) -> None:
        """End every wait with Drained."""
        self._drained = True
        for granted in self._waiting:
            if not granted.done():
                granted.set_exception(Drained())

    def _opened(self, admitted: Pass, size: int) -> Pass:
        self._slots.opened(size)
        return _OpenPass(admitted, self._slots, size)

    async def _room(self, size: int, task: str) -> None:
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(granted)
        self._waiting_of[task] += 1
        if self._waiting_of[task] == 1:
            self._on_wait(task, self._slots.reason, None)
        try:
            await self._slots.room(size, granted)
        finally:
            self._waiting.discard(granted)
            self._waiting_of[task] -= 1
            if not self._waiting_of[task]:
                self._on_wait(task, None, None)


class _OpenPass:
    """The pass of an open call."""

    __slots__ = ("_inner", "_size", "_slots")

    def __init__(self, inner: Pass, slots: CallSlots, size: int) -> None:
        self._inner = inner
        self._slots = slots
        self._size = size

    def sends(self) -> None:
        self._inner.sends()

    def answered(self, response: ChatResponse) -> None:
        self._slots.closed(self._size)
        self._inner.answered(response)

    def failed(self, error: ModelError) -> None:
        self._slots.closed(self._size)
        self._inner.failed(error)

    def lost(self) -> None:
        self._slots.closed(self._size)
        self._inner.lost()

    def unused(self) -> None:
        self._slots.closed(self._size)
        self._inner.unused()


def _size(request: ChatRequest) -> int:
    """The descriptors that a call needs."""
    return _OF_AGENT if runs_code(request.model) else 1
