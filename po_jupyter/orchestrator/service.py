"""The composition root: an orchestrator, put together from its parts, started and stopped.

Nothing in it blocks the loop that it runs on (P9).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from po_jupyter.config import Settings, owner
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.composition import Base, make_dispatcher, make_schedules
from po_jupyter.orchestrator.control.fork import ForkPlanner
from po_jupyter.orchestrator.control.run_control import RunControl
from po_jupyter.orchestrator.dispatch.distribution import Distribution
from po_jupyter.orchestrator.dispatch.leased import LeasedDispatcher
from po_jupyter.orchestrator.doctor import Doctor
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.environment.local_models import LocalModels
from po_jupyter.orchestrator.environment.preflight import Preflight
from po_jupyter.orchestrator.environment.service import EnvironmentService
from po_jupyter.orchestrator.events.audit_log import AuditLog
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.events.store_listener import StoreListener
from po_jupyter.orchestrator.examination.examiner import Examiner
from po_jupyter.orchestrator.maintenance.retention import RunCleaner
from po_jupyter.orchestrator.maintenance.service import Maintenance
from po_jupyter.orchestrator.monitoring.service import Monitoring
from po_jupyter.orchestrator.schedules.records import ScheduleStore
from po_jupyter.orchestrator.schedules.service import Schedules
from po_jupyter.orchestrator.scores.service import RunScores
from po_jupyter.orchestrator.submission.pipelines import PipelineLibrary, PipelineRegistry
from po_jupyter.orchestrator.submission.planner import RunPlanner
from po_jupyter.orchestrator.submission.service import Submissions
from po_jupyter.orchestrator.threads import BoundedThreads, ThreadRunner
from po_jupyter.orchestrator.views.daily_usage import DailyUsage
from po_jupyter.orchestrator.views.inspection.service import RunInspection
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.queries import RunQueries
from po_jupyter.orchestrator.views.results import RunResults
from po_jupyter.orchestrator.views.waits import WaitReports
from po_jupyter.orchestrator.views.workers import LocalWorkers, WorkersView
from po_jupyter.orchestrator.workers.rate_limit_server import check_limit_names
from po_jupyter.orchestrator.workers.spawned_workers import worker_pool
from po_jupyter.orchestrator.workers.zygote_pool import ZygotePool
from po_jupyter.platform.private_dir import prepare_parent
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.objects.opening import open_shared_files
from po_jupyter.store.protocol import Store
from po_jupyter.worker.zygote import version

_EXAMINED = 2  # definitions at once, of those that start something and of the others
_INSPECTED = 2  # looks into runs at once of one owner; a page asks for several together
_THREADS = 6  # that wait for the store; it has a thread for each of its shards itself


class Readiness(TypedDict):
    """`ready`: requests are answered. `orchestrator`: somebody works runs off. `store`: "ok", or what is wrong;
    `broker` likewise, where there is one."""

    ready: bool
    orchestrator: bool
    store: str
    broker: NotRequired[str]


@dataclass(frozen=True, slots=True)
class RunningOrchestrator:
    """A started orchestrator: its parts by subject, all of them usable.

    `owner` is whose runs are meant in every part: None sees all, and somebody else's run is NotFound.
    """

    settings: Settings
    store: Store
    projections: RunProjections
    zygotes: ZygotePool
    audit: AuditLog
    changes: ChangeFeed
    dispatcher: LeasedDispatcher
    runs: RunQueries
    results: RunResults
    inspection: RunInspection
    scores: RunScores
    submissions: Submissions
    control: RunControl
    pipelines: PipelineLibrary
    schedules: Schedules
    environment: EnvironmentService
    maintenance: Maintenance
    monitoring: Monitoring
    doctor: Doctor
    waits: WaitReports
    find_workers: Callable[[], WorkersView]

    @property
    def workers(self) -> WorkersView:
        """The servers that work runs off."""
        return self.find_workers()

    @property
    def max_running(self) -> int:
        """Runs that may have a worker at the same time."""
        return self.settings.max_running

    def ready(self) -> Readiness:
        """The readiness of this server: runs can be started, and somebody works them off."""
        if self.dispatcher.is_closed:
            return {"ready": False, "orchestrator": False, "store": "not open"}
        somebody = self.dispatcher.is_holder or self.dispatcher.lease_document is not None
        return {"ready": True, "orchestrator": somebody, "store": "ok"}

    def live_runs(self) -> int:
        """Runs at work or queued: what keeps a server from being idle."""
        return self.dispatcher.live_runs()

    def meta(self) -> dict[str, object]:
        """A description of this orchestrator, for `GET meta`."""
        from po_jupyter.llm.specs import specs

        settings = self.settings
        lease = self.dispatcher.lease_document or {}
        return {
            "version": version(),
            "orchestrator": {
                "holder": self.dispatcher.is_holder,
                "pid": lease.get("pid"),
                "since": lease.get("since"),
            },
            "data_dir": str(settings.data_dir),
            "inbox_dir": str(settings.inbox_dir) if settings.inbox_dir is not None else None,
            "limits": {"running": settings.max_running, "rates": self.dispatcher.rate_limits()},
            "runs": self.dispatcher.load(),
            "providers": sorted(specs()),
            "python": sys.version.split()[0],
            "hub": _hub(settings),
        }


def _hub(settings: Settings) -> dict[str, object] | None:
    """The hub whose user's server this is, or whose gateway it uses; None without one. `stops_servers`: the hub may
    stop this server, and its runs go on when the hub starts it again."""
    stops = "JUPYTERHUB_SERVICE_PREFIX" in os.environ
    if not stops and settings.hub_url is None:
        return None
    return {"gateway": settings.hub_url, "stops_servers": stops}


class Orchestrator:
    """The orchestrator of one data directory, to be started once.

    Several of them may share one store: one holds the orchestrator's lease and has the workers, the others
    serve the same API and take over when it dies.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store | None = None,
        *,
        address: JsonObject | None = None,
        distribution: Distribution | None = None,
    ) -> None:
        """`store` instead of the one in the data directory; it stays open at the end. `address`, `{kind, url, socket,
        token}`, is where clients find this server while it holds the store. `distribution`: as one of several nodes."""
        self._distribution = distribution
        self._settings = settings
        self._store = store
        self._address = address
        self._resources = contextlib.AsyncExitStack()

    async def start(self) -> RunningOrchestrator:
        """Open the store, take the lease when it is free, recover. Raises StoreUnusable, InvalidSettings."""
        check_settings(self._settings)
        async with contextlib.AsyncExitStack() as resources:
            running = await self._start(resources)
            self._resources = resources.pop_all()
        return running

    async def stop(self) -> None:
        """Have the workers finish what is in flight, give the lease back, close the store."""
        await self._resources.aclose()

    async def _start(self, resources: contextlib.AsyncExitStack) -> RunningOrchestrator:
        base = await self._open(resources)
        dispatcher = make_dispatcher(base, self._address, self._distribution)
        running = _parts(base, dispatcher, self._distribution)
        resources.push_async_callback(running.monitoring.close)
        resources.push_async_callback(dispatcher.close)
        await dispatcher.start()
        return running

    async def _open(self, resources: contextlib.AsyncExitStack) -> Base:
        settings = self._settings
        to_thread = ThreadRunner(_THREADS)
        resources.callback(to_thread.close)
        store = self._store
        if store is None:
            store = await to_thread(open_settings_store, settings)
            resources.push_async_callback(to_thread, store.close)
        files = await to_thread(open_shared_files, store, settings.blobs)
        if files is not None:
            resources.push_async_callback(to_thread, files.close)
        row_files = RowFiles(settings.data_dir, files)
        projections = RunProjections(store)
        base = Base(
            settings=settings,
            store=store,
            to_thread=to_thread,
            changes=ChangeFeed(),
            audit=AuditLog(settings.data_dir / "audit"),
            keys=KeyStore(settings.data_dir, settings.hub_url, behalf=settings.hub_behalf),
            projections=projections,
            registry=PipelineRegistry(store),
            files=files,
            schedules=ScheduleStore(store),
            row_files=row_files,
            daily_usage=DailyUsage(store),
            cleaner=RunCleaner(settings, store, projections, files),
            local_models=LocalModels(settings),
            zygotes=worker_pool(settings),
            examiner=Examiner(settings),
            submitting=BoundedThreads(_EXAMINED, 8 * _EXAMINED, "po-submitting"),
            reading=BoundedThreads(_EXAMINED, 2 * _EXAMINED, "po-reading"),
            inspecting=BoundedThreads(_INSPECTED, 16 * _INSPECTED, "po-inspecting"),
        )
        resources.push_async_callback(base.local_models.close)
        resources.push_async_callback(base.zygotes.close)
        for threads in (base.submitting, base.reading, base.inspecting):
            resources.callback(threads.close)
        resources.callback(base.examiner.close)
        await to_thread(base.row_files.sweep)
        listener = StoreListener(store, base.changes, to_thread)
        resources.push_async_callback(listener.close)
        listener.start()
        return base


def _workers_finder(
    base: Base, dispatcher: LeasedDispatcher, distribution: Distribution | None
) -> Callable[[], WorkersView]:
    """Finds who knows the nodes: the distribution, once it does, else this server of itself."""
    local_workers = LocalWorkers(
        base.store,
        base.to_thread,
        lambda: {"version": version(), "slots": base.settings.max_running, **dispatcher.load()},
        lambda: dispatcher.lease_document,
    )

    def workers() -> WorkersView:
        nodes = distribution.workers if distribution is not None else None
        return nodes or local_workers

    return workers


def _parts(base: Base, dispatcher: LeasedDispatcher, distribution: Distribution | None) -> RunningOrchestrator:
    settings, store, to_thread, projections = base.settings, base.store, base.to_thread, base.projections
    preflight = Preflight(settings, base.keys, lambda: dispatcher.checks_environment)
    planner = RunPlanner(settings, base.registry, base.row_files, preflight, base.examiner.examine)
    runs = RunQueries(store, projections, dispatcher, to_thread)
    workers = _workers_finder(base, dispatcher, distribution)
    inspection = RunInspection(
        settings, store, projections, runs, rows=base.row_files,
        examine=base.examiner.examine, inspecting=base.inspecting, rendering=base.reading,
    )  # fmt: skip
    submissions = Submissions(
        store, projections, runs, planner, dispatcher, base.row_files,
        prepare_interpreter=base.zygotes.get, to_thread=to_thread, submitting=base.submitting, reading=base.reading,
    )  # fmt: skip
    return RunningOrchestrator(
        settings=settings,
        store=store,
        projections=projections,
        zygotes=base.zygotes,
        audit=base.audit,
        changes=base.changes,
        dispatcher=dispatcher,
        runs=runs,
        results=RunResults(settings, projections, runs, to_thread, base.row_files, base.files),
        inspection=inspection,
        scores=RunScores(
            settings, store, inspection, submissions, rows=base.row_files, examine=base.examiner.examine,
            examining=base.reading,
        ),
        submissions=submissions,
        control=RunControl(
            store, projections, runs, dispatcher, base.changes, settings=settings,
            forks=ForkPlanner(store, projections, planner, settings.data_dir, base.files), files=base.files,
            daily_usage=base.daily_usage, to_thread=to_thread, submitting=base.submitting,
        ),
        pipelines=PipelineLibrary(
            base.registry, settings, to_thread, examine=base.examiner.examine, examining=base.submitting
        ),
        schedules=make_schedules(base, planner, dispatcher),
        environment=EnvironmentService(
            base.keys,
            to_thread,
            inherited=settings.worker_env,
            cli_agents=settings.cli_agents,
            prices=settings.prices,
        ),
        maintenance=Maintenance(
            settings, base.cleaner, base.daily_usage, base.changes, base.audit, to_thread, store=store,
            team=base.keys.team, attend=dispatcher.changed,
        ),
        monitoring=Monitoring(store, base.changes, dispatcher, workers, to_thread, settings.data_dir),
        doctor=Doctor(
            settings, base.keys, base.zygotes, store, to_thread, has_workers=lambda: dispatcher.is_holder
        ),
        waits=WaitReports(store, dispatcher, to_thread),
        find_workers=workers,
    )  # fmt: skip


def check_settings(settings: Settings) -> None:
    """Raises InvalidSettings for settings that no orchestrator starts with."""
    check_limit_names(settings)


def open_settings_store(settings: Settings) -> Store:
    """The store of the settings, and the data directory, which are made when they are not there. Blocks. Raises
    StoreUnusable, also when the directory is somebody else's."""
    from po_jupyter.store.opening import open_store

    prepare_parent(settings.data_dir)
    known = owner.check(settings.data_dir)
    store = open_store(
        settings.data_dir / "store",
        settings.store.get_secret_value() if settings.store else None,
        shards=settings.store_shards,
        allow_network=settings.allow_network_store,
    )
    try:
        newest = store.runs(limit=1).heads if known is None else []
        owner.claim(settings.data_dir, newest[0]["owner"] if newest else None)
    except BaseException:
        store.close()
        raise
    return store
