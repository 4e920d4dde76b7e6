"""The dispatcher of a server, put together: the parts that it stands on, and the jobs that go with it."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from po_jupyter.config import Settings, owner
from po_jupyter.ipc import channel as link
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.dispatch.distribution import Distribution
from po_jupyter.orchestrator.dispatch.follower import Follower
from po_jupyter.orchestrator.dispatch.holder_file import HolderFile
from po_jupyter.orchestrator.dispatch.leased import LeasedDispatcher
from po_jupyter.orchestrator.dispatch.local import LocalDispatcher
from po_jupyter.orchestrator.dispatch.protocol import ActiveDispatcher, Dispatcher, HolderService, ServiceGroup
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.environment.local_models import LocalModels
from po_jupyter.orchestrator.environment.preflight import Preflight
from po_jupyter.orchestrator.environment.run_file_exchange import RunFileExchange
from po_jupyter.orchestrator.events.audit_log import AuditLog
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.examination.examiner import Examiner
from po_jupyter.orchestrator.maintenance import call_cache
from po_jupyter.orchestrator.maintenance.retention import RunCleaner
from po_jupyter.orchestrator.maintenance.service import Attend, BackgroundJob, MaintenanceJobs
from po_jupyter.orchestrator.notifications.service import Notifier, notifier_of
from po_jupyter.orchestrator.schedules.records import ScheduleStore
from po_jupyter.orchestrator.schedules.runner import SlotRunner
from po_jupyter.orchestrator.schedules.scheduler import Scheduler, work_off
from po_jupyter.orchestrator.schedules.seed_files import SeedFiles
from po_jupyter.orchestrator.schedules.service import Schedules
from po_jupyter.orchestrator.submission.pipeline_files import PipelineFiles
from po_jupyter.orchestrator.submission.pipelines import PipelineRegistry
from po_jupyter.orchestrator.submission.planner import RunPlanner
from po_jupyter.orchestrator.threads import BoundedThreads, ThreadRunner
from po_jupyter.orchestrator.views.daily_usage import DailyUsage
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.snapshot_keeper import SnapshotKeeper
from po_jupyter.orchestrator.workers.queue import RunShare
from po_jupyter.orchestrator.workers.zygote_pool import ZygotePool
from po_jupyter.store.documents import ORCHESTRATOR_LEASE
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.objects.shared_files import SharedFiles
from po_jupyter.store.protocol import Head, NewRun, Store


@dataclass(frozen=True, slots=True)
class Base:
    """The parts of an orchestrator that stand on nothing but the settings and the store."""

    settings: Settings
    store: Store
    to_thread: ThreadRunner
    changes: ChangeFeed
    audit: AuditLog
    keys: KeyStore
    projections: RunProjections
    registry: PipelineRegistry
    files: SharedFiles | None
    schedules: ScheduleStore
    row_files: RowFiles
    daily_usage: DailyUsage
    cleaner: RunCleaner
    local_models: LocalModels
    zygotes: ZygotePool
    examiner: Examiner
    submitting: BoundedThreads
    reading: BoundedThreads
    inspecting: BoundedThreads


def make_dispatcher(
    base: Base, server: JsonObject | None, distribution: Distribution | None
) -> LeasedDispatcher:
    """The dispatcher of a server: alone over its store, or as one node of several. `server` says where clients find
    it."""
    makers = _Makers(base, server, distribution)
    dispatcher = makers.dispatcher = LeasedDispatcher(
        base.store, base.changes,
        lease_ttl=base.settings.lease_ttl, to_thread=base.to_thread, hold=makers.hold, follow=makers.follow,
        document=ORCHESTRATOR_LEASE if distribution is None else distribution.document,
        describe=dict if distribution is None else distribution.describe,
    )  # fmt: skip
    return dispatcher


class _Makers:
    """Makes the dispatchers of one server as its lease comes and goes. `dispatcher` is who calls."""

    dispatcher: LeasedDispatcher

    def __init__(self, base: Base, server: JsonObject | None, distribution: Distribution | None) -> None:
        self._base = base
        self._server = server
        self._distribution = distribution
        self._address = link.address_of(base.settings.data_dir)

    def follow(self) -> Follower:
        """The dispatcher while another process has the lease."""
        base = self._base
        return Follower(base.store, base.changes, base.to_thread, self._address)

    def hold(self) -> ActiveDispatcher:
        """The dispatcher of who has the lease."""
        base, notifier = self._base, self._notifier()
        if self._distribution is None:
            services = self._with_address(
                _jobs(base, self._created, self.dispatcher.changed, self._scheduler())
            )
            return self._local(_with_notifier(services, notifier), None, notifier)
        return self._distribution.join(
            base.store, base.changes, base.to_thread,
            # A notifier that is not started has what happens to a run told by that of the leader.
            local=lambda services, share: self._local(services, share, notifier),
            own=self._with_address(_jobs(base, self._created, self.dispatcher.changed)),
            lead=lambda: _with_notifier(self._leader_jobs(), self._notifier()),
        )  # fmt: skip

    def _local(
        self, services: HolderService, share: RunShare | None, notifier: Notifier | None
    ) -> LocalDispatcher:
        base = self._base
        return LocalDispatcher(
            base.settings, base.store, base.projections, base.changes, base.zygotes, base.keys, base.local_models,
            address=self._address, to_thread=base.to_thread, warm_up=self._warm_up, services=services,
            before_start=notifier.watch if notifier is not None else None, share=share, files=self._files(),
        )  # fmt: skip

    def _files(self) -> RunFileExchange | None:
        base = self._base
        if base.files is None:
            return None
        return RunFileExchange(base.settings.data_dir, base.store, base.files, base.row_files)

    def _notifier(self) -> Notifier | None:
        base = self._base
        return notifier_of(
            base.settings, base.store, base.projections, base.changes, base.to_thread, self._server
        )

    def _with_address(self, services: HolderService) -> HolderService:
        if self._server is None:
            return services
        return HolderFile(self._base.settings.data_dir, self._server, services, self._base.to_thread)

    async def _created(self, new: NewRun, head: Head, fresh: bool) -> None:
        """A file became a run, now (`fresh`) or before something failed on the way."""
        if fresh:
            await self.dispatcher.submitted(head, RunDefinition.from_json(new.definition))
        else:
            await self.dispatcher.changed(head["run"])

    def _leader_jobs(self) -> MaintenanceJobs:
        """The jobs that one of several nodes does for all."""
        base = self._base
        jobs: list[BackgroundJob] = [
            SnapshotKeeper(base.store, base.projections, base.changes, base.to_thread), self._scheduler(),
        ]  # fmt: skip
        return MaintenanceJobs(
            base.settings, base.cleaner, base.changes, base.audit, base.to_thread, pipelines=None, jobs=jobs,
            attend=self.dispatcher.changed,
        )  # fmt: skip

    def _scheduler(self) -> Scheduler:
        base = self._base
        # Runs see the environment of who holds the store, and that is this process.
        preflight = Preflight(base.settings, base.keys, lambda: True)
        planner = RunPlanner(base.settings, base.registry, base.row_files, preflight, base.examiner.examine)
        return Scheduler(
            base.schedules, _slot_runner(base, planner),
            changes=base.changes, audit=base.audit, to_thread=base.to_thread,
            started=partial(work_off, self.dispatcher),
        )  # fmt: skip

    async def _warm_up(self) -> None:
        base = self._base
        with contextlib.suppress(Exception):  # the first run says what is wrong with it
            await base.zygotes.get(None)
        await base.to_thread(base.examiner.warm_up)
        await base.to_thread(call_cache.tend, base.settings)


def make_schedules(base: Base, planner: RunPlanner, dispatcher: Dispatcher) -> Schedules:
    """The schedules as people ask for them; their runs are planned by `planner` and handed to `dispatcher`."""
    return Schedules(
        base.settings, base.store, base.schedules, _slot_runner(base, planner), base.registry, planner,
        started=partial(work_off, dispatcher), to_thread=base.to_thread, changing=base.submitting,
    )  # fmt: skip


def _slot_runner(base: Base, planner: RunPlanner) -> SlotRunner:
    return SlotRunner(base.store, base.schedules, base.registry, planner, SeedFiles(base.settings))


def _with_notifier(jobs: HolderService, notifier: Notifier | None) -> HolderService:
    return jobs if notifier is None else ServiceGroup(jobs, notifier)


def _jobs(
    base: Base,
    created: Callable[[NewRun, Head, bool], Awaitable[None]],
    attend: Attend,
    scheduler: Scheduler | None = None,
) -> MaintenanceJobs:
    """The jobs of a holder; those of the leader are not among them without a `scheduler`. `created` has the runs of the
    watch folder worked off."""
    settings = base.settings
    person = owner.owner_of(settings.data_dir).owner
    pipelines = None
    if settings.pipelines_dir is not None:
        pipelines = PipelineFiles(settings.pipelines_dir, base.registry, person, base.examiner.examine)
    jobs: list[BackgroundJob] = []
    if scheduler is not None:
        jobs += [SnapshotKeeper(base.store, base.projections, base.changes, base.to_thread), scheduler]
    if settings.inbox_dir is not None:
        from po_jupyter.orchestrator.inbox.folder import InboxFolder
        from po_jupyter.orchestrator.inbox.watcher import InboxWatcher

        folder = InboxFolder(
            settings,
            base.store,
            base.registry,
            owner=person,
            pipelines=pipelines,
            keys=base.keys,
            examine=base.examiner.examine,
            rows=base.row_files,
            files=base.files,
        )
        jobs.append(InboxWatcher(
            folder, settings,
            changes=base.changes, audit=base.audit, to_thread=base.to_thread, created=created,
        ))  # fmt: skip
    return MaintenanceJobs(
        settings, base.cleaner, base.changes, base.audit, base.to_thread,
        pipelines=pipelines, jobs=jobs, cleans=scheduler is not None, attend=attend,
    )  # fmt: skip
