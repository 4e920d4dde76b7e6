"""`Dispatcher`: the seam between the orchestrator and the workers of its runs.

A submission, a resume or a decision is durable before a dispatcher hears of it, and a dispatcher that hears nothing
finds the run in the store (P1). `LocalDispatcher` has the workers, `Follower` leaves them to the server that has;
`LeasedDispatcher` is one or the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypedDict

from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.orchestrator.views.waits import RunWaits
from po_jupyter.store.protocol import Head


class DispatchLoad(TypedDict):
    """The numbers of runs that have a worker and that wait for one (B14); None while they are not known."""

    running: int | None
    queued: int | None


class Dispatcher(Protocol):
    """Has runs worked off. Called on the orchestrator's loop; `position` and `waiting_reason` from any thread."""

    @property
    def is_holder(self) -> bool:
        """True when this server holds the store's lease and has the workers."""
        ...

    @property
    def checks_environment(self) -> bool:
        """Runs see this process's environment, so that a key which is missing here will be missing there."""
        ...

    async def submitted(self, head: Head, definition: RunDefinition) -> None:
        """Have a run worked off that was created right now."""

    async def changed(self, run: str) -> None:
        """Do what the log of the run asks for: somebody just wrote to it."""

    async def release(self, run: str) -> None:
        """Have the run given back after the calls in flight, and nobody here take it until it is `taken_back`. Raises
        Unavailable where another server has the workers."""

    async def take_back(self, run: str) -> None:
        """Look after a released run again, as its log asks for."""

    def position(self, run: str) -> int | None:
        """The place of a queued run, 1 is next; None when it does not wait for a worker."""

    def waiting_reason(self, run: str) -> str | None:
        """The reason why the run waits for the store, for people; None when it does not."""

    def load(self) -> DispatchLoad:
        """The load of the workers."""
        ...

    def waits(self) -> RunWaits:
        """The runs that wait, and what each waits for."""
        ...

    def live_runs(self) -> int:
        """The number of runs at work or queued: above zero the server is not idle."""
        ...

    def rate_limits(self) -> Mapping[str, object] | None:
        """The rate limits of models by key, as `GET meta` shows them; None where they are not known."""


class ActiveDispatcher(Dispatcher, Protocol):
    """A dispatcher that is started, and closed when another takes its place."""

    async def start(self) -> None:
        """Begin. Raises StoreError."""

    async def close(self, *, drain: bool) -> None:
        """End. With `drain` its workers finish what is in flight and exit; without, they look for the next holder."""


class HolderService(Protocol):
    """Background work that only the holder of the lease does."""

    async def start(self) -> None:
        """Begin. Raises StoreError."""

    async def close(self) -> None:
        """End; what a thread has begun it ends."""


class ServiceGroup:
    """Several services as one: started in their order, ended in the opposite one."""

    def __init__(self, *services: HolderService) -> None:
        """None of them is started yet."""
        self._services = services

    async def start(self) -> None:
        """Start them. Raises StoreError."""
        for service in self._services:
            await service.start()

    async def close(self) -> None:
        """End them."""
        for service in reversed(self._services):
            await service.close()
