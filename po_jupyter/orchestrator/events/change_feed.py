"""Who wants to know what changes: a bounded, coalescing fan-out of hints on the orchestrator's loop.

A note says only *that* a run changed; what changed is read from the store. A subscriber that is slow gets fewer
notes, never a growing queue, and one that lost a note has lost nothing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

_MAX_TEXTS = 256  # pieces of text that wait for one subscriber; the oldest go first


class Notification(NamedTuple):
    """`("changed", run id)`, `("text", {run, task, item?, text, round})` or `("held", {run, reason})`."""

    kind: str
    what: Any


class Subscription:
    """One listener's queue."""

    def __init__(self, run: str | None) -> None:
        self.run = run
        self._changed: OrderedDict[str, None] = OrderedDict()
        self._texts: list[Notification] = []
        self._ready = asyncio.Event()

    def _put(self, note: Notification) -> None:
        if note.kind == "changed":
            self._changed[note.what] = None
        else:
            self._texts.append(note)
            if len(self._texts) > _MAX_TEXTS:
                del self._texts[0]
        self._ready.set()

    async def get(self, timeout: float | None = None) -> Notification | None:  # noqa: ASYNC109 - None is an answer here
        """The next note, or None after `timeout` seconds without one."""
        if not self._ready.is_set():
            try:
                async with asyncio.timeout(timeout):
                    await self._ready.wait()
            except TimeoutError:
                return None
        note = (
            self._texts.pop(0) if self._texts else Notification("changed", self._changed.popitem(last=False)[0])
        )
        if not self._texts and not self._changed:
            self._ready.clear()
        return note


class ChangeFeed:
    """The fan-out. Used on one loop only. `on_interest(run)` is called when the listeners of a run (None: of
    all runs) appear or go."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self.on_interest: Callable[[str | None], None] = lambda run: None
        self.listeners: set[Callable[[str], None]] = set()  # told of changes; nobody watches through them

    @asynccontextmanager
    async def subscribe(self, run: str | None = None) -> AsyncIterator[Subscription]:
        """Notes of one run, or of all."""
        subscription = Subscription(run)
        self._subscriptions.add(subscription)
        self.on_interest(run)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            self.on_interest(run)

    def watched(self, run: str) -> bool:
        """Does anybody listen to this run?"""
        return any(s.run is None or s.run == run for s in self._subscriptions)

    def interests(self) -> set[str | None]:
        """The runs that somebody listens to; None stands for all."""
        return {s.run for s in self._subscriptions}

    def changed(self, run: str) -> None:
        """The log of a run grew, or the run is gone."""
        self._tell(run, Notification("changed", run))
        for listener in tuple(self.listeners):
            listener(run)

    def text(self, run: str, note: dict[str, Any]) -> None:
        """A piece of a model's answer."""
        self._tell(run, Notification("text", {"run": run, **note}))

    def held(self, run: str, reason: str | None) -> None:
        """The run waits for the store (None: it goes on), which its log cannot say."""
        self._tell(run, Notification("held", {"run": run, "reason": reason}))

    def _tell(self, run: str, note: Notification) -> None:
        for subscription in self._subscriptions:
            if subscription.run is None or subscription.run == run:
                subscription._put(note)
