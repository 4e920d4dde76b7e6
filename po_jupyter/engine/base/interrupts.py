"""Interrupts: they end user code from outside. No `Exception`s: an `except Exception` in a task must not catch them."""

from __future__ import annotations


class Interrupt(BaseException):
    """The root of both; raised at stage boundaries, before calls, and inside threads of sync stages."""


class Stopped(Interrupt):
    """The run was cancelled, or the attempt is over (its timeout passed)."""


class Drained(Interrupt):
    """The worker gives the run back; what is recorded answers when the attempt goes on elsewhere."""
