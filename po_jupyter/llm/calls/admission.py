"""Admission: the interface of a rate limiter to the calls. Every request needs a pass, retries included.

enter ──► a pass at once, or None ──► wait ──► a pass ──► sends, the request ──► answered, failed, lost
                                                  └─────► (nothing was sent) unused
"""

from __future__ import annotations

from typing import Protocol

from po_jupyter.errors import ModelError
from po_jupyter.llm.chat import ChatRequest, ChatResponse


class Pass(Protocol):
    """The right to send one request. `sends` is called right before; then, or instead, exactly one of the others."""

    def sends(self) -> None:
        """The request is sent now."""
        ...

    def answered(self, response: ChatResponse) -> None:
        """The answer arrived."""
        ...

    def failed(self, error: ModelError) -> None:
        """The request ended with an error, of the server or of the way to it."""
        ...

    def lost(self) -> None:
        """The request was sent, and its answer is not waited for any more."""
        ...

    def unused(self) -> None:
        """The request was not sent."""
        ...


class Admission(Protocol):
    """A rate limiter. `task` is the task that the call is of."""

    def enter(self, request: ChatRequest, task: str) -> Pass | None:
        """A pass when nothing limits the call; None: `wait` for it. May raise what `wait` raises."""
        ...

    async def wait(self, request: ChatRequest, task: str) -> Pass:
        """A pass, as soon as there is room.

        Raises ModelRefused for a call that never fits, and an interrupt that ends the wait. A cancelled wait leaves
        nothing behind.
        """
        ...


class _FreePass:
    """A pass that is not counted."""

    def sends(self) -> None:
        """Do nothing."""

    def answered(self, response: ChatResponse) -> None:
        """Do nothing."""

    def failed(self, error: ModelError) -> None:
        """Do nothing."""

    def lost(self) -> None:
        """Do nothing."""

    def unused(self) -> None:
        """Do nothing."""


class Unlimited:
    """No limiter: every request may be sent at once."""

    _free = _FreePass()

    def enter(self, request: ChatRequest, task: str) -> Pass | None:
        """See `Admission`."""
        return self._free

    async def wait(self, request: ChatRequest, task: str) -> Pass:
        """See `Admission`."""
        return self._free


UNLIMITED = Unlimited()
