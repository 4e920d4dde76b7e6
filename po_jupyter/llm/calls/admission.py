"""The door before every request of a call: where a limiter, if there is one, has its say.

`llm.journaled` goes through it once for each request that it sends, retries included:

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
        """It is sent now."""
        ...

    def answered(self, response: ChatResponse) -> None:
        """The answer came."""
        ...

    def failed(self, error: ModelError) -> None:
        """An error came, from the server or instead of it."""
        ...

    def lost(self) -> None:
        """It was sent, and nobody waits for the answer any more."""
        ...

    def unused(self) -> None:
        """It was not sent."""
        ...


class Admission(Protocol):
    """Gives out passes. `task` is whose call it is."""

    def enter(self, request: ChatRequest, task: str) -> Pass | None:
        """A pass when nothing limits the call; None: `wait` for it. May raise what `wait` raises."""
        ...

    async def wait(self, request: ChatRequest, task: str) -> Pass:
        """A pass, as soon as there is room. Raises ModelRefused for a call that never fits, and what ends the
        wait (a drain). A cancelled wait leaves nothing behind."""
        ...


class _Free:
    """A pass that nobody counts."""

    def sends(self) -> None:
        """Nothing."""

    def answered(self, response: ChatResponse) -> None:
        """Nothing."""

    def failed(self, error: ModelError) -> None:
        """Nothing."""

    def lost(self) -> None:
        """Nothing."""

    def unused(self) -> None:
        """Nothing."""


class Unlimited:
    """Everybody may send at once."""

    _free = _Free()

    def enter(self, request: ChatRequest, task: str) -> Pass | None:
        """See `Admission`."""
        return self._free

    async def wait(self, request: ChatRequest, task: str) -> Pass:
        """See `Admission`."""
        return self._free


UNLIMITED = Unlimited()
