"""The orchestrator: what the server's routes call. Nothing in it blocks the loop it runs on (P9)."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput
from po_jupyter.ipc import channel as link
from po_jupyter.orchestrator.control.job_control import JobControl
from po_jupyter.orchestrator.dispatch.follower import Following, recover, sweep
from po_jupyter.orchestrator.dispatch.lease import OrchestratorLease
from po_jupyter.orchestrator.environment.key_store import Keys
from po_jupyter.orchestrator.environment.local_models import LocalModels
from po_jupyter.orchestrator.events.audit_log import AuditLog
from po_jupyter.orchestrator.events.change_feed import Feed
from po_jupyter.orchestrator.maintenance import call_cache
from po_jupyter.orchestrator.maintenance.retention import Policy, Retention, policy_of
from po_jupyter.orchestrator.maintenance.service import Keeping, clean
from po_jupyter.orchestrator.submission.pipelines import Registry
from po_jupyter.orchestrator.views.daily_usage import DailyUsage
from po_jupyter.orchestrator.views.projections import Views
from po_jupyter.orchestrator.workers.gateway import WorkerGateway
from po_jupyter.orchestrator.workers.rate_limit_server import RateLimitServer, check_limit_names
from po_jupyter.orchestrator.workers.supervisor import Supervisor
from po_jupyter.orchestrator.workers.zygote_pool import ZygotePool
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.protocol import Head, NewRun, Store
from po_jupyter.worker.zygote import version

_PATIENCE = 10.0  # s that one request to clean may take; its caller asks again
_THREADS = 6  # that wait for the store; it has a thread for each of its shards itself


class Orchestrator(JobControl):
    """Runs of one data directory.

    Several of them may share one store: one holds the orchestrator's lease and has the workers, the others
    serve the same API and take over when it dies. `owner` is whose runs are meant everywhere: None sees all,
    and somebody else's run is NotFound.
    """

    def __init__(self, settings: Settings, store: Store | None = None) -> None:
        self.settings = settings
        self.feed = Feed()
        self.blobs = RowFiles(settings.data_dir)
        self._keys = Keys(settings.data_dir)
        self._given_store = store
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="po-orchestrator")
        self._ready = False
        self._stopping = False
        self._tasks: list[asyncio.Task[Any]] = []

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store, take the lease when it is free, recover. Raises StoreUnusable, InvalidSettings."""
        settings = self.settings
        check_limit_names(settings)
        self._address = link.address_of(settings.data_dir)
        self._store = self._given_store if self._given_store is not None else await self._do(self._open)
        await self._do(self.blobs.sweep)
        self._views = Views(self._store)
        self._registry = Registry(self._store)
        self._zygotes = ZygotePool(settings.data_dir / "logs")
        self._models = LocalModels(settings)
        self._retention = Retention(settings, self._store, self._views)
        self._daily = DailyUsage(self._store)
        self._audit = AuditLog(settings.data_dir / "audit")
        self._keeping: Keeping | None = None
        self._supervisor: Supervisor | None = None
        self._listener: link.Listener | None = None
        self._rates: RateLimitServer | None = None
        self._holding: list[asyncio.Task[Any]] = []
        self._following: Following | None = None
        self._lease = OrchestratorLease(
            self._store, settings.lease_ttl, holder=secrets.token_hex(8), run_off_loop=self._do,
            on_taken=self._taken, on_lost=self._lost,
        )  # fmt: skip
        await self._lease.start()
        if self._supervisor is None:
            self._follow()
        self._ready = True

    def _open(self) -> Store:
        from po_jupyter.store.disk.store import DiskStore

        settings = self.settings
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return DiskStore(
            settings.data_dir / "store",
            shards=settings.store_shards,
            allow_network=settings.allow_network_store,
        )

    async def stop(self) -> None:
        """Drain the workers, end what is left, give the lease back, close the store."""
        if not self._ready or self._stopping:
            return
        self._stopping = True
        await self._step_down(drain=True)
        await self._lease.stop()
        if self._following is not None:
            await self._following.close()
        await self._zygotes.close()
        await self._models.close()
        if self._given_store is None:
            await self._do(self._store.close)
        self._threads.shutdown(wait=False)
        self._ready = False

    async def _taken(self) -> None:
        if self._stopping:
            return  # it was lost while we drained, and is given back at once
        if self._following is not None:
            await self._following.close()
            self._following = None
        supervisor = Supervisor(
            self.settings, self._store, self._views, self.feed, self._zygotes,
            address=self._address, to_thread=self._do, keys=self._keys,
        )  # fmt: skip
        self._supervisor = supervisor
        self._rates = RateLimitServer(self.settings)
        gateway = WorkerGateway(
            supervisor, self._store, self.feed,
            to_thread=self._do, get_resource=self._models.endpoint, rates=self._rates,
        )  # fmt: skip
        self._listener = link.Listener(self._address, gateway.serve)
        await self._listener.start()
        self._holding = [
            asyncio.create_task(supervisor.watch_silence(), name="silence"),
            asyncio.create_task(self._warm_up(), name="warm up"),
        ]
        await recover(self._store, supervisor, self._do)
        looking = sweep(self._store, supervisor, self._do, self.settings.lease_ttl)
        self._holding.append(asyncio.create_task(looking, name="sweep"))
        self._keeping = Keeping(
            self.settings, self._store, self._registry, self._views, self.feed,
            audit=self._audit, run_off_loop=self._do, created=self._taken_in, keys=self._keys,
        )  # fmt: skip
        await self._keeping.start()

    async def _warm_up(self) -> None:
        with contextlib.suppress(Exception):  # the first run says what is wrong with it
            await self._zygotes.get(None)
        await self._do(call_cache.tend, self.settings)

    async def _lost(self) -> None:
        # The workers live on: they look for whoever holds the lease now.
        await self._step_down(drain=False)
        self._follow()

    async def _step_down(self, *, drain: bool) -> None:
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            await keeping.close()
        supervisor, self._supervisor = self._supervisor, None
        for task in self._holding:
            task.cancel()
        await asyncio.gather(*self._holding, return_exceptions=True)
        self._holding = []
        if supervisor is not None:
            await supervisor.stop(drain=drain)
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.close()
        rates, self._rates = self._rates, None
        if rates is not None:
            rates.close()

    def _follow(self) -> None:
        self._following = Following(self._store, self.feed, self._do, self._address)
        self._following.start()

    def ready(self) -> dict[str, Any]:
        """`{ready, orchestrator, store}`."""
        holder = self._ready and self._supervisor is not None
        somebody = holder or (self._ready and self._lease.document is not None)
        return {"ready": self._ready, "orchestrator": somebody, "store": "ok" if self._ready else "not open"}

    def meta(self) -> dict[str, Any]:
        """What this orchestrator is, for `GET meta`."""
        from po_jupyter.llm.specs import specs

        document = (self._lease.document if self._ready else None) or {}
        return {
            "version": version(),
            "orchestrator": {
                "holder": self._ready and self._supervisor is not None,
                "pid": document.get("pid"),
                "since": document.get("since"),
            },
            "data_dir": str(self.settings.data_dir),
            "inbox_dir": str(self.settings.inbox_dir) if self.settings.inbox_dir is not None else None,
            "limits": {
                "running": self.settings.max_running,
                "rates": self._rates.limits() if self._ready and self._rates is not None else None,
            },
            "runs": self.load(),
            "providers": sorted(specs()),
            "python": sys.version.split()[0],
        }

    def load(self) -> dict[str, int | None]:
        """`{running, queued}`: runs that have a worker, and runs that wait for one (B14). Of the server that
        holds the store, as it said a moment ago, when this one does not; None before that."""
        if self._ready and self._supervisor is not None:
            return {"running": self._supervisor.busy(), "queued": len(self._supervisor.queue)}
        if not self._ready or self._following is None:
            return {"running": None, "queued": None}
        return {name: self._following.load[name] for name in ("running", "queued")}

    def live_runs(self) -> int:
        """Runs at work or queued: what keeps a server from being idle."""
        if not self._ready:
            return 0
        if self._supervisor is not None:
            return self._supervisor.live()
        return self._following.live if self._following is not None else 0

    async def _taken_in(self, new: NewRun, head: Head, fresh: bool) -> None:
        """A file became a run, now (`fresh`) or before something failed on the way."""
        await (self._begin(head, new.definition) if fresh else self._changed(head["run"]))

    # -- room -----------------------------------------------------------------------------------

    async def clean(
        self,
        owner: str | None,
        *,
        dry_run: bool = False,
        older_than: float | None = None,
        states: Sequence[str] = (),
        cache: bool = False,
    ) -> dict[str, Any]:
        """Delete old runs; answers as `keeping.clean` does. With `cache` the cached answers of models instead, and
        `cache: {answers, bytes}` says how many.

        With `older_than` (days): the `states` given, or else only finished ones. Without: what the settings of
        retention say. Only ended runs are ever deleted; `dry_run` deletes nothing.
        """
        if cache:
            if older_than is not None or states:
                raise InvalidInput(
                    "`cache` is about answers, `older_than` and `states` are about runs",
                    hint="Clean one after the other.",
                )
            gone = await self._do(call_cache.clear, self.settings, owner, dry_run=dry_run)
            return {**call_cache.no_runs(dry_run), "cache": gone}
        policy = policy_of(self.settings)._replace(max_bytes=0)
        if older_than is not None:
            policy = Policy(dict.fromkeys(states or ("done",), older_than))
        elif states:
            raise InvalidInput("`states` needs `older_than`", hint="For example 30 days; 0 means all of them.")
        return await clean(
            self._retention, policy, feed=self.feed, audit=self._audit, run_off_loop=self._do,
            by=owner or "admin", owner=owner, dry_run=dry_run, patience=_PATIENCE,
        )  # fmt: skip

    async def usage(self, owner: str | None, *, days: int = 30) -> dict[str, Any]:
        """What calls used in the last `days` days and the room that runs take: `{days, total, owners?, disk}` as
        `DailyUsage.report` and `Retention.used` say it."""
        used = await self._do(self._daily.report, owner, days)
        return {**used, "disk": await self._do(self._retention.used, owner)}
