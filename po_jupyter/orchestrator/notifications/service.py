"""The notifier: reads the logs of runs that changed, and delivers the messages of the outbox, each until it arrived."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping

import structlog

from po_jupyter.config import Settings
from po_jupyter.errors import Conflict, CorruptRow, StoreError, Unavailable
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.notifications import channel_log
from po_jupyter.orchestrator.notifications.outbox import Outbox, PendingDelivery
from po_jupyter.orchestrator.notifications.senders import ChannelSender, SendResult, sender_of
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.protocol import Store

log = structlog.get_logger(__name__)

_COLLECT = 0.25  # s between two looks at the logs of runs that change all the time
FIRST_PAUSE = 5.0  # s before the second try; each pause after it is three times as long
LONGEST_PAUSE = 4 * 3600.0  # s
_STORE_PAUSE = 5.0  # s before the store is tried again
_DAMAGED = "notifications of a run cannot be made: what is stored is damaged"
MOST_WAITING = 1000  # messages of one channel; beyond them the oldest is given up


def notifier_of(
    settings: Settings,
    store: Store,
    projections: RunProjections,
    changes: ChangeFeed,
    to_thread: ToThread,
    server: JsonObject | None,
) -> Notifier | None:
    """The notifier of the holder; None where the settings name no channel. `server` is the address of this one."""
    channels = settings.notifications
    if not channels:
        return None
    wanted = {name: frozenset(channel.events) for name, channel in channels.items()}
    outbox = Outbox(store, projections, wanted, url_maker(settings, server))
    senders = {name: sender_of(channel) for name, channel in channels.items()}
    return Notifier(outbox, store, changes, to_thread, senders, patience=settings.notification_patience)


def url_maker(settings: Settings, server: JsonObject | None) -> Callable[[str], str | None]:
    """A function that gives the address where people open a run; None for one that no Jupyter server shows."""
    is_jupyter = server is not None and server.get("kind") == "jupyter" and not server.get("socket")
    base = settings.public_url or (str(server["url"]) if server is not None and is_jupyter else None)
    return lambda run: None if base is None else f"{base.rstrip('/')}/lab?po-run={run}"


class Notifier:
    """Tells the channels of what happens, from the taking of the store's lease to its loss."""

    def __init__(
        self,
        outbox: Outbox,
        store: Store,
        changes: ChangeFeed,
        to_thread: ToThread,
        senders: Mapping[str, ChannelSender],
        *,
        patience: float,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        """`patience` is how long one message is tried, in seconds."""
        self._outbox = outbox
        self._store = store
        self._changes = changes
        self._to_thread = to_thread
        self._senders = senders
        self._patience = patience
        self._first_pause = first_pause
        self._queues = {name: ChannelQueue() for name in senders}
        self._changed: dict[str, None] = {}
        # What the outbox has and what the queues have is compared and changed by one at a time.
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def watch(self, run: str) -> None:
        """Have the run's events told; called before a worker of it starts. Raises StoreError, but not for what is
        damaged: then the run goes on and nobody is told."""
        try:
            await self._to_thread(self._outbox.watch, run)
        except CorruptRow as error:
            log.error(_DAMAGED, run=run, error=error.message)

    async def start(self) -> None:
        """Begin in the background, with what an earlier server left."""
        self._changes.add_listener(self._on_change)
        self._tasks.append(asyncio.create_task(self._collect(), name="collect notifications"))
        for name, sender in self._senders.items():
            self._tasks.append(asyncio.create_task(self._deliver(name, sender), name=f"notify {name}"))

    async def close(self) -> None:
        """End; what is not delivered stays in the outbox."""
        self._changes.remove_listener(self._on_change)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sender in self._senders.values():
            await sender.close()

    def _on_change(self, run: str) -> None:
        self._changed[run] = None
        self._wake.set()

    # -- collecting -----------------------------------------------------------------------------

    async def _collect(self) -> None:
        await self._stubborn("", self._load)
        while True:
            await self._wake.wait()
            self._wake.clear()
            changed, self._changed = self._changed, {}
            for run in changed:
                await self._stubborn(run, self._collect_run, run)
            await asyncio.sleep(_COLLECT)

    async def _load(self) -> None:
        await self._to_thread(self._outbox.watch_active)
        # Before the logs: what is left of a run whose log cannot be read is delivered all the same.
        async with self._lock:
            for pending in await self._to_thread(lambda: list(self._outbox.pending())):
                await self._enqueue(pending)
        for run in await self._to_thread(self._outbox.runs):
            self._on_change(run)

    async def _collect_run(self, run: str) -> None:
        async with self._lock:
            await self._to_thread(self._outbox.collect, run)
            # All, not the new ones alone: a write whose acknowledgement got lost was done, and nothing is new then.
            for pending in await self._to_thread(self._outbox.pending_of, run):
                await self._enqueue(pending)

    async def _enqueue(self, pending: PendingDelivery) -> None:
        """Have it delivered, if it does not wait for that already."""
        name = pending.delivery["channel"]
        queue = self._queues.get(name)
        if queue is None:
            await self._to_thread(self._outbox.settle, pending)  # its channel is no more
            return
        queue.add(pending)
        while len(queue) > MOST_WAITING:
            oldest = queue.oldest()
            await self._give_up(name, oldest, f"more than {MOST_WAITING} wait for this receiver")
            queue.remove(oldest)  # last: a store that fails is asked again for the same one

    async def _stubborn(self, run: str, work: Callable[..., object], *args: object) -> bool:
        """Await `work(*args)`, again and again while the store fails. False when it cannot be done: what is damaged
        stays so, and the other runs are not kept waiting."""
        while True:
            try:
                await work(*args)  # type: ignore[misc]  # a coroutine function
                return True
            except CorruptRow as error:
                log.error(_DAMAGED, run=run, error=error.message)
                return False
            except (StoreError, Conflict, Unavailable) as error:
                log.error("notifications wait for the store", error=error.message)
                await asyncio.sleep(_STORE_PAUSE)
            except Exception:
                log.exception("notifications of a run cannot be made", run=run)
                return False

    # -- delivering -----------------------------------------------------------------------------

    async def _deliver(self, name: str, sender: ChannelSender) -> None:
        queue = self._queues[name]
        while True:
            pending = await queue.due()
            try:
                result = await sender.send(pending.delivery)
            except Exception as error:
                log.exception("a notification could not be sent", channel=name)
                result = SendResult(f"{type(error).__name__} while it was sent")
            if not await self._stubborn(pending.run, self._record, name, pending, result):
                queue.drop(pending)  # what cannot be written down is not sent again and again by this server

    async def _record(self, name: str, pending: PendingDelivery, result: SendResult) -> None:
        async with self._lock:
            await self._write_down(name, pending, result)

    async def _write_down(self, name: str, pending: PendingDelivery, result: SendResult) -> None:
        queue, delivery = self._queues[name], pending.delivery
        if not result.error:
            await self._to_thread(self._outbox.settle, pending)
            queue.remove(pending)
            await self._to_thread(channel_log.delivered, self._store, name)
            log.info("notified", channel=name, id=delivery["id"], type=delivery["message"]["type"])
            return
        now = time.time()
        pause = max(self._pause(delivery["tries"]), result.retry_after)
        if result.is_final or now + pause > delivery["since"] + self._patience:
            await self._give_up(name, pending, result.error)
            queue.remove(pending)
            return
        later = await self._to_thread(self._outbox.postpone, pending, result.error, now + pause)
        queue.remove(pending)
        if later is None:
            return  # given up meanwhile
        queue.add(later)
        await self._to_thread(lambda: channel_log.failed(self._store, name, result.error, given_up=False))
        log.warning(
            "a notification was not delivered", channel=name, id=delivery["id"], error=result.error,
            tries=delivery["tries"] + 1, next_try=round(pause),
        )  # fmt: skip

    def _pause(self, tries: int) -> float:
        return min(LONGEST_PAUSE, self._first_pause * 3.0 ** min(tries, 20)) * random.uniform(0.8, 1.2)

    async def _give_up(self, name: str, pending: PendingDelivery, error: str) -> None:
        await self._to_thread(self._outbox.settle, pending)
        await self._to_thread(lambda: channel_log.failed(self._store, name, error, given_up=True))
        log.error("a notification is given up", channel=name, id=pending.delivery["id"], error=error)


class ChannelQueue:
    """The messages of one channel, by when they are due. For one loop."""

    def __init__(self) -> None:
        """Empty."""
        self._pending: dict[tuple[str, str], PendingDelivery] = {}
        self._dropped: set[tuple[str, str]] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._pending)

    def add(self, pending: PendingDelivery) -> None:
        """Add it; one that is here stays as it is, and one that was dropped does not come back."""
        key = _key(pending)
        if key not in self._pending and key not in self._dropped:
            self._pending[key] = pending
            self._changed.set()

    def remove(self, pending: PendingDelivery) -> None:
        """Take it out."""
        self._pending.pop(_key(pending), None)

    def drop(self, pending: PendingDelivery) -> None:
        """Take it out for as long as this server runs."""
        self.remove(pending)
        self._dropped.add(_key(pending))

    def oldest(self) -> PendingDelivery:
        """The one that has waited longest; it stays in the queue."""
        return min(self._pending.values(), key=lambda pending: pending.delivery["since"])

    async def due(self) -> PendingDelivery:
        """The next one, once its time has come; it stays in the queue."""
        while True:
            self._changed.clear()
            first = min(self._pending.values(), key=lambda pending: pending.delivery["next_at"], default=None)
            wait = None if first is None else first.delivery["next_at"] - time.time()
            if first is not None and wait is not None and wait <= 0:
                return first
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass


def _key(pending: PendingDelivery) -> tuple[str, str]:
    return pending.run, pending.delivery["id"]
