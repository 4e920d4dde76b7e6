"""The outbox: how far each run's log was read for notifications, and the messages that are not delivered yet.

One document a run, from before its first worker starts until the run has ended and all its messages are delivered.
Both facts are written at once: a message is in the outbox from the very moment that its event counts as read, with an
id that follows from the event's place in the log. A killed server leaves either both or neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from threading import Lock
from typing import NamedTuple, TypedDict

from po_jupyter.config.notifications import NotificationEvent
from po_jupyter.errors import CorruptRow, NotFound
from po_jupyter.model.run.view import ENDED
from po_jupyter.orchestrator.notifications.messages import (
    NotificationMessage,
    category_of,
    may_be_told,
    message_of,
)
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store import documents
from po_jupyter.store.protocol import Head, Store

KIND = "notifications"
_PAGE = 2000  # events read at once
_LOOK_BACK = 50  # records among which the event is looked for that set a run going


class Delivery(TypedDict):
    """One message to one channel that is not delivered yet. `since` and `next_at` are seconds since 1970; `error` says
    why the last try failed."""

    id: str
    channel: str
    message: NotificationMessage
    since: float
    tries: int
    next_at: float
    error: str


class RunOutbox(TypedDict):
    """The document of a run: its log was read up to event `offset`."""

    offset: int
    pending: list[Delivery]


class PendingDelivery(NamedTuple):
    """A delivery and the run whose document it is in."""

    run: str
    delivery: Delivery


class Outbox:
    """Reads logs and keeps messages. Every method blocks on the store: call them in a thread."""

    def __init__(
        self,
        store: Store,
        projections: RunProjections,
        channels: Mapping[str, frozenset[NotificationEvent]],
        url_of: Callable[[str], str | None],
    ) -> None:
        """`channels` are the events that each is told of; `url_of` gives the address where people open a run."""
        self._store = store
        self._projections = projections
        self._channels = channels
        self._url_of = url_of
        # A document that goes with its ended run, and the same run that goes on: one after the other.
        self._lock = Lock()

    def watch(self, run: str) -> None:
        """Have the run's events read from the one on that set it going; before a worker of it starts."""
        with self._lock:
            if self._store.get(KIND, run) is None and "parent" not in (head := self._store.head(run)):
                self._begin(run, self._start_offset(head))

    def watch_active(self) -> None:
        """The same, from now on, for the runs that have not ended and that nobody watches: channels are new."""
        with self._lock:
            known = set(self._store.names(KIND))
            for head in self._store.active():
                if head["run"] not in known and "parent" not in head:
                    self._begin(head["run"], head["offset"])

    def _begin(self, run: str, offset: int) -> None:
        document: RunOutbox = {"offset": offset, "pending": []}
        self._store.swap(KIND, run, None, document)

    def _start_offset(self, head: Head) -> int:
        """The offset of the event that set the run going: what came with its creation is told to nobody."""
        for n in range(head["n"], max(head["n"] - _LOOK_BACK, 0), -1):
            for record in self._store.records(head["run"], after=n - 1, limit=1):
                types = [event["type"] for event in record["events"]]
                if "run.created" in types:
                    return record["first"] + len(types) - 1
                if "run.resumed" in types:
                    return record["first"] + types.index("run.resumed")
        return head["offset"]

    def runs(self) -> list[str]:
        """The runs that are watched or have messages left."""
        return self._store.names(KIND)

    def pending(self) -> Iterator[PendingDelivery]:
        """The messages that are not delivered yet, of the runs whose document can be read."""
        return pending_deliveries(self._store)

    def collect(self, run: str) -> list[PendingDelivery]:
        """Read on in the run's log, and put what is to be told into the outbox; the new messages."""
        with self._lock:
            document: RunOutbox | None = self._store.get(KIND, run)
            if document is None:
                return []
            try:
                head = self._store.head(run)
            except NotFound:
                head = None  # deleted: what was to be told of it is told
            found = self._read(head, document["offset"]) if head is not None else ([], document["offset"])
            new, offset = found
            over = head is None or head["state"] in ENDED

            def change(now: RunOutbox | None) -> RunOutbox | None:
                nonlocal new
                if now is None or now["offset"] != document["offset"]:
                    new = []
                    return now  # another server took over and read on: what is new here, it has told perhaps
                pending = [*now["pending"], *new]
                return None if over and not pending else {"offset": offset, "pending": pending}

            documents.update(self._store, KIND, run, change, subject="the outbox")
            return [PendingDelivery(run, delivery) for delivery in new]

    def pending_of(self, run: str) -> list[PendingDelivery]:
        """The messages of one run that are not delivered yet."""
        document: RunOutbox | None = self._store.get(KIND, run)
        return [PendingDelivery(run, one) for one in document["pending"]] if document is not None else []

    def _read(self, head: Head, since: int) -> tuple[list[Delivery], int]:
        """The messages of the events behind `since`, and the offset of the last one that was read."""
        run, new = head["run"], list[Delivery]()
        while since < head["offset"]:
            events = self._store.events(run, since=since, limit=_PAGE)
            if not events:
                break
            since = events[-1]["offset"]
            for event in events:
                if not may_be_told(event):
                    continue
                view = self._projections.view(head)
                category = category_of(event, view)
                if category is None:
                    continue
                message = message_of(event, category, view, self._url_of(run))
                new += [
                    new_delivery(f"msg_{run}_{event['offset']}", channel, message)
                    for channel, wanted in self._channels.items()
                    if category in wanted
                ]
        return new, since

    def postpone(self, pending: PendingDelivery, error: str, next_at: float) -> PendingDelivery | None:
        """Write down a try that failed, and when the next one is; None when the message is not there any more."""
        delivery = pending.delivery
        later: Delivery = {**delivery, "tries": delivery["tries"] + 1, "error": error, "next_at": next_at}
        return pending._replace(delivery=later) if self._replace(pending, later) else None

    def settle(self, pending: PendingDelivery) -> None:
        """Take a message out: it was delivered, or is given up."""
        self._replace(pending, None)

    def _replace(self, pending: PendingDelivery, delivery: Delivery | None) -> bool:
        """Put it in the place of the message, if that is still there: true then."""
        key = pending.delivery["id"], pending.delivery["channel"]

        found = False

        with self._lock:
            try:
                over = self._store.head(pending.run)["state"] in ENDED
            except NotFound:
                over = True
            except CorruptRow:
                over = False  # its message was delivered all the same; the document goes with the run

            def change(now: RunOutbox | None) -> RunOutbox | None:
                nonlocal found
                found = now is not None and any((d["id"], d["channel"]) == key for d in now["pending"])
                if now is None or not found:
                    return now
                others = [d for d in now["pending"] if (d["id"], d["channel"]) != key]
                left = [*others, delivery] if delivery is not None else others
                if over and not left and self._is_read(pending.run, now["offset"]):
                    return None
                return {"offset": now["offset"], "pending": left}

            documents.update(self._store, KIND, pending.run, change, subject="the outbox")
        return found

    def _is_read(self, run: str, offset: int) -> bool:
        try:
            return self._store.head(run)["offset"] <= offset
        except NotFound:
            return True


def new_delivery(id: str, channel: str, message: NotificationMessage) -> Delivery:
    """A message that was not tried yet."""
    now = time.time()
    return {
        "id": id, "channel": channel, "message": message, "since": now, "tries": 0, "next_at": now, "error": "",
    }  # fmt: skip


def pending_deliveries(store: Store) -> Iterator[PendingDelivery]:
    """The messages of all runs that are not delivered yet; without those of a damaged document, which only `collect`
    complains of. Blocks on the store."""
    for run in store.names(KIND):
        document: RunOutbox | None = None
        with suppress(CorruptRow):
            document = store.get(KIND, run)
        for delivery in document["pending"] if document is not None else ():
            yield PendingDelivery(run, delivery)
