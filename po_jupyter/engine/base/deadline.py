"""Deadlines of stages. Time in which the whole process stood still does not count, nor that of a wait for what others
have to free."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Self

from po_jupyter.platform.pauses import RunningTimeout

_current: ContextVar[Deadline | None] = ContextVar("po_deadline", default=None)


def waiting() -> AbstractContextManager[None]:
    """Stop the clock of the stage that runs here (`Deadline.waiting`); nothing when none does."""
    deadline = _current.get()
    return deadline.waiting() if deadline is not None else nullcontext()


class Deadline(RunningTimeout):
    """The timeout of a stage, which is stopped while the stage is `waiting`."""

    __slots__ = ("_since", "_token", "_waits")

    def __init__(self, seconds: float) -> None:
        """A deadline `seconds` from now, on the running loop."""
        super().__init__(seconds)
        self._token: Token[Deadline | None] | None = None
        self._waits = 0
        self._since = 0.0  # when the first of `_waits` began

    async def __aenter__(self) -> Self:
        """Start the clock."""
        await super().__aenter__()
        self._token = _current.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the clock. Raises TimeoutError when the deadline passed."""
        if self._token is not None:
            _current.reset(self._token)
        await super().__aexit__(kind, error, trace)

    def extend(self, seconds: float) -> None:
        """Move the deadline `seconds` later."""
        self._when += seconds

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Stop the clock inside the block: what the stage waits for is what others have to free."""
        if not self._waits:
            self._since = self._loop.time()
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1
            if not self._waits:
                self._when += self._loop.time() - self._since

    def _held(self, now: float) -> float:
        return now - self._since if self._waits else 0.0
