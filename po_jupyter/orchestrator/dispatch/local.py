"""The dispatcher of the server that holds the store's lease: it has the workers of all runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path

from po_jupyter.config import Settings
from po_jupyter.ipc import channel
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.orchestrator.dispatch.protocol import DispatchLoad, HolderService
from po_jupyter.orchestrator.dispatch.recovery import recover, sweep
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.environment.local_models import LocalModels
from po_jupyter.orchestrator.environment.run_credentials import RunCredentials
from po_jupyter.orchestrator.environment.run_file_exchange import RunFileExchange
from po_jupyter.orchestrator.environment.worker_resources import WorkerResources
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.waits import RunWaits
from po_jupyter.orchestrator.workers import spawned_workers
from po_jupyter.orchestrator.workers.gateway import WorkerGateway
from po_jupyter.orchestrator.workers.queue import RunShare
from po_jupyter.orchestrator.workers.rate_limit_server import RateLimitServer
from po_jupyter.orchestrator.workers.supervisor import Supervisor
from po_jupyter.orchestrator.workers.zygote_pool import ZygotePool
from po_jupyter.store.protocol import Head, Store


class LocalDispatcher:
    """A supervisor with what its workers talk to, from the taking of the lease to its loss."""

    is_holder = True
    checks_environment = True

    def __init__(
        self,
        settings: Settings,
        store: Store,
        projections: RunProjections,
        changes: ChangeFeed,
        zygotes: ZygotePool,
        keys: KeyStore,
        local_models: LocalModels,
        *,
        address: Path,
        to_thread: ToThread,
        warm_up: Callable[[], Coroutine[object, object, None]],
        services: HolderService,
        before_start: Callable[[str], Awaitable[None]] | None = None,
        share: RunShare | None = None,
        files: RunFileExchange | None = None,
    ) -> None:
        """`address` is where workers and followers reach this one; `warm_up` runs once beside the first runs;
        `services` are started after the runs that were there are attended to; `before_start` is awaited before a worker
        of a run is started. `share` is which runs are looked after here, where that is not all;
        `files` are those that nodes share."""
        self._settings = settings
        self._store = store
        self._to_thread = to_thread
        self._warm_up = warm_up
        self._zygotes = zygotes
        self._share = share
        self._services = services
        self._active = store.active if share is None else share.active
        self.supervisor = Supervisor(
            settings, store, projections, changes, zygotes,
            address=address, to_thread=to_thread, keys=keys, before_start=before_start, share=share,
        )  # fmt: skip
        self._rates = self.rate_limit_server = RateLimitServer(settings)
        resources = WorkerResources(local_models, RunCredentials(settings, store, keys), to_thread, files)
        gateway = WorkerGateway(
            self.supervisor, store, changes,
            to_thread=to_thread, get_resource=resources.get, rates=self._rates, share=share,
        )  # fmt: skip
        self._listener = channel.Listener(
            address, gateway.serve, tcp=spawned_workers.is_spawn(settings.worker_start)
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, attend to the runs that have not ended, start the services. Raises StoreError."""
        await self._listener.start()
        self._tasks.append(asyncio.create_task(self.supervisor.watch_silence(), name="silence"))
        self._tasks.append(asyncio.create_task(self._get_ready(), name="warm up"))
        await recover(self._active, self.supervisor, self._to_thread)
        sweeping = sweep(self._active, self.supervisor, self._to_thread, self._settings.lease_ttl)
        self._tasks.append(asyncio.create_task(sweeping, name="sweep"))
        await self._services.start()

    async def _get_ready(self) -> None:
        if self._share is not None:
            with suppress(Exception):  # the first run says what is wrong with it
                await self._zygotes.get(None)
            self._share.warmed_up()
        await self._warm_up()

    async def close(self, *, drain: bool) -> None:
        """End once; with `drain` the workers are told to finish what is in flight."""
        if self._closed:
            return
        self._closed = True
        await self._services.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.supervisor.stop(drain=drain)
        await self._listener.close()
        self._rates.close()

    # -- dispatching ----------------------------------------------------------------------------

    async def submitted(self, head: Head, definition: RunDefinition) -> None:
        """Queue a run that was created right now: nothing of it is read."""
        self.supervisor.submitted(head, definition)

    async def changed(self, run: str) -> None:
        """Do what the log of the run asks for."""
        await self.supervisor.attend(run)

    async def release(self, run: str) -> None:
        """Have the run given back."""
        await self.supervisor.releases.release(run)

    async def take_back(self, run: str) -> None:
        """Look after the run again."""
        self.supervisor.releases.take_back(run)
        await self.supervisor.attend(run)

    def position(self, run: str) -> int | None:
        """The place of a queued run, 1 is next."""
        return self.supervisor.queue.position(run)

    def waiting_reason(self, run: str) -> str | None:
        """The reason why the run waits for the store; None also while a new try is on its way."""
        return self.supervisor.store_backoff.reason(run)

    def load(self) -> DispatchLoad:
        """The load of the workers here."""
        return {"running": self.supervisor.busy(), "queued": len(self.supervisor.queue)}

    def waits(self) -> RunWaits:
        """The runs that wait here, and what each waits for."""
        load = self.supervisor.load()
        return {"calls": self._rates.waits(), "store": load["held"], "queue": load["positions"]}

    def live_runs(self) -> int:
        """Runs at work or queued here."""
        return self.supervisor.live()

    def rate_limits(self) -> Mapping[str, object]:
        """The limits that are handed out here, by model key."""
        return self._rates.limits()
