"""The change feed: publishes to subscribers on the orchestrator's loop which runs changed. Bounded, coalescing.

A notification says only *that* a run changed; what changed is read from the store. A slow subscriber gets fewer
notifications, never a growing queue, and one that lost a notification has lost nothing (P1).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple

_MAX_TEXTS = 256  # pieces of text that wait for one subscriber; the oldest go first


class Notification(NamedTuple):
    """One hint about a run. `data` is empty for a change; it is `{run, task, item?, text, round}` for a piece of a
    model's answer, and `{run, reason}` for a run that waits for the store (reason None: it goes on)."""

    kind: Literal["changed", "text", "held"]
    run: str
    data: Mapping[str, object] = {}


class FeedSubscription:
    """The queue of one subscriber to a run, or to all runs (`run` None)."""

    def __init__(self, run: str | None) -> None:
        """Empty."""
        self.run = run
        self._changed: OrderedDict[str, None] = OrderedDict()
        self._texts: list[Notification] = []
        self._ready = asyncio.Event()

    def put(self, notification: Notification) -> None:
        """Queue it: changes of one run become one, of the others the oldest are dropped when there are too many."""
        if notification.kind == "changed":
            self._changed[notification.run] = None
        else:
            self._texts.append(notification)
            if len(self._texts) > _MAX_TEXTS:
                del self._texts[0]
        self._ready.set()

    async def get(self, timeout: float | None = None) -> Notification | None:  # noqa: ASYNC109 - None is an answer here
        """The next notification, or None after `timeout` seconds without one."""
        if not self._ready.is_set():
            try:
                async with asyncio.timeout(timeout):
                    await self._ready.wait()
            except TimeoutError:
                return None
        if self._texts:
            notification = self._texts.pop(0)
        else:
            notification = Notification("changed", self._changed.popitem(last=False)[0])
        if not self._texts and not self._changed:
            self._ready.clear()
        return notification


class ChangeFeed:
    """Publish and subscribe, on one loop only."""

    def __init__(self) -> None:
        """Without subscribers."""
        self._subscriptions: set[FeedSubscription] = set()
        self._listeners: set[Callable[[str], None]] = set()
        self._on_subscribers: Callable[[str | None], None] | None = None

    # -- subscribers ----------------------------------------------------------------------------

    @asynccontextmanager
    async def subscribe(self, run: str | None = None) -> AsyncIterator[FeedSubscription]:
        """Notifications of one run, or of all."""
        subscription = FeedSubscription(run)
        self._subscriptions.add(subscription)
        self._subscribers_changed(run)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            self._subscribers_changed(run)

    def on_subscribers_changed(self, callback: Callable[[str | None], None]) -> None:
        """Have `callback(run)` called whenever subscribers of a run (None: of all runs) come or go; a later callback
        takes the place of an earlier one."""
        self._on_subscribers = callback

    def _subscribers_changed(self, run: str | None) -> None:
        if self._on_subscribers is not None:
            self._on_subscribers(run)

    def watched(self, run: str) -> bool:
        """True when somebody subscribes to this run or to all."""
        return any(s.run is None or s.run == run for s in self._subscriptions)

    def interests(self) -> set[str | None]:
        """The runs with subscribers; None stands for all."""
        return {s.run for s in self._subscriptions}

    def add_listener(self, listener: Callable[[str], None]) -> None:
        """Have `listener(run)` called at every change. A listener is no subscriber: nobody watches through it."""
        self._listeners.add(listener)

    def remove_listener(self, listener: Callable[[str], None]) -> None:
        """Call it no more."""
        self._listeners.discard(listener)

    # -- publishers -----------------------------------------------------------------------------

    def changed(self, run: str) -> None:
        """The log of a run grew, or the run is gone."""
        self._publish(Notification("changed", run))
        for listener in tuple(self._listeners):
            listener(run)

    def text(self, run: str, piece: Mapping[str, object]) -> None:
        """A piece of a model's answer: `{task, item?, text, round}`."""
        self._publish(Notification("text", run, {"run": run, **piece}))

    def store_wait(self, run: str, reason: str | None) -> None:
        """The run waits for the store (None: it goes on), which its log cannot say."""
        self._publish(Notification("held", run, {"run": run, "reason": reason}))

    def _publish(self, notification: Notification) -> None:
        for subscription in self._subscriptions:
            if subscription.run is None or subscription.run == notification.run:
                subscription.put(notification)
