"""The change feed of an orchestrator, as streams read it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol


class NotificationApi(Protocol):
    """A hint that a run changed (`data` is empty), a piece of text, or that it waits for the store; `data` is sent."""

    @property
    def kind(self) -> Literal["changed", "text", "held"]:
        """The event's name in a stream."""
        ...

    @property
    def run(self) -> str:
        """The id of the run."""
        ...

    @property
    def data(self) -> Mapping[str, object]:
        """`{run, ...}`."""
        ...


class SubscriptionApi(Protocol):
    """A queue of notifications, bounded: one that is lost has lost nothing, for what changed is in the store (P1)."""

    async def get(self, timeout: float) -> NotificationApi | None:  # noqa: ASYNC109 - None is an answer here
        """The next one; None after `timeout` seconds."""


class ChangesApi(Protocol):
    """The change feed."""

    def subscribe(self, run: str | None) -> AbstractAsyncContextManager[SubscriptionApi]:
        """Notifications of one run, or of all."""
        ...
