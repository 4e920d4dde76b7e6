"""Who waits for what: calls for rate limits, runs for the store and for a worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypedDict

from po_jupyter.errors import CorruptRow, NotFound
from po_jupyter.ipc.messages import CallWait
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.store.protocol import Store

_MOST = 100  # of each kind


class RunWaits(TypedDict):
    """The runs that wait, of all owners: calls that wait for a rate limit, why runs wait for the store, and places in
    the queue for a worker, of the first 1,000."""

    calls: Sequence[CallWait]
    store: Mapping[str, str]
    queue: Mapping[str, int]


class WaitingCall(CallWait):
    """Calls that wait, and the name of their run."""

    name: str


class StoreWaitEntry(TypedDict):
    """A run that waits for the store, and why."""

    run: str
    name: str
    reason: str


class QueuedRunWait(TypedDict):
    """A run that waits for a worker; position 1 is next."""

    run: str
    name: str
    position: int


class WaitReport(TypedDict):
    """An owner's waits, at most 100 of each kind; `others`: how many runs of other owners wait. `rates` are the limits
    by provider or model and by kind; None where they are not known."""

    calls: list[WaitingCall]
    store: list[StoreWaitEntry]
    queue: list[QueuedRunWait]
    others: int
    rates: Mapping[str, object] | None


class WaitSource(Protocol):
    """The part of a dispatcher that knows what runs wait for."""

    def waits(self) -> RunWaits:
        """The runs that wait, of all owners."""
        ...

    def rate_limits(self) -> Mapping[str, object] | None:
        """The rate limits by key."""


class WaitReports:
    """Reports what an owner's runs wait for."""

    def __init__(self, store: Store, dispatcher: WaitSource, to_thread: ToThread) -> None:
        """Names of runs are read in threads."""
        self._store = store
        self._dispatcher = dispatcher
        self._to_thread = to_thread

    async def report(self, owner: str | None) -> WaitReport:
        """The waits of an owner's runs; of everybody's when it is None."""
        waits = self._dispatcher.waits()
        runs = list(
            dict.fromkeys([*(call["run"] for call in waits["calls"]), *waits["store"], *waits["queue"]])
        )
        names, others = await self._to_thread(self._names, runs, owner)
        calls: list[WaitingCall] = [
            {**call, "name": names[call["run"]]} for call in waits["calls"] if call["run"] in names
        ]
        store: list[StoreWaitEntry] = [
            {"run": run, "name": names[run], "reason": reason}
            for run, reason in waits["store"].items()
            if run in names
        ]
        queue: list[QueuedRunWait] = [
            {"run": run, "name": names[run], "position": position}
            for run, position in waits["queue"].items()
            if run in names
        ]
        return {
            "calls": calls[:_MOST],
            "store": store[:_MOST],
            "queue": queue[:_MOST],
            "others": others,
            "rates": self._dispatcher.rate_limits(),
        }

    def _names(self, runs: Iterable[str], owner: str | None) -> tuple[dict[str, str], int]:
        """The names of the owner's runs, and the number of the others."""
        names: dict[str, str] = {}
        others = 0
        for run in runs:
            try:
                head = self._store.head(run)
            except (NotFound, CorruptRow):
                continue
            if owner in (None, head["owner"]):
                names[run] = head["name"]
            else:
                others += 1
        return names, others
