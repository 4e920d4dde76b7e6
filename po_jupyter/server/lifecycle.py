"""The lifecycle of the orchestrator in the server: started in the background, waited for, tried again, stopped."""

from __future__ import annotations

import asyncio
import contextvars
import time
from contextlib import suppress
from functools import partial
from logging import Logger

from tornado.web import HTTPError

from po_jupyter.config import Settings
from po_jupyter.errors import PoError, StoreError, Unavailable
from po_jupyter.model.values.json import JsonObject
from po_jupyter.server.error_response import exhaustion
from po_jupyter.server.routing.api import (
    OrchestratorApi,
    OrchestratorFactory,
    OrchestratorService,
)
from po_jupyter.server.routing.context import AuditTrail, OrchestratorHost
from po_jupyter.server.routing.monitoring import ReadinessReport

START_PATIENCE = 15.0  # seconds that a request waits for a starting orchestrator
PROBE_PATIENCE = 2.0  # seconds in which what is ready answers
STOP_PATIENCE = 60.0  # seconds that a stopping orchestrator may take; with all its waits it takes half of them
STOPPING = "the orchestrator is stopping"
RETRY_AFTER = 5.0  # seconds before a failed start is tried again


class OrchestratorLifecycle:
    """Starts and stops one orchestrator."""

    def __init__(
        self,
        settings: Settings,
        factory: OrchestratorFactory | None,
        log: Logger,
        broken: PoError | None = None,
    ) -> None:
        """`factory` makes the orchestrator; None: po_jupyter's own. `broken` is what is wrong with the settings: it
        cannot start with them, and every request is told."""
        self._settings = settings
        self._factory = factory
        self._log = log
        self._broken = broken
        self._address: JsonObject | None = None
        self._service: OrchestratorService | None = None
        self._orchestrator: OrchestratorApi | None = None
        self._starting: asyncio.Task[None] | None = None
        self._failed: tuple[float, PoError] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._stopped = False
        self._probe: asyncio.Task[ReadinessReport] | None = None

    def begin(self, address: JsonObject | None = None) -> None:
        """Start it in the background; `address`, `{kind, url, socket, token}`, is where clients find this server."""
        self._address = address or self._address
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._failed = None
        # Its tasks work for everybody from now on: they are nothing of the request that happened to come first, neither
        # of its trace nor of who sent it.
        self._starting = asyncio.create_task(self._start(), context=contextvars.Context())

    async def _start(self) -> None:
        try:
            if self._broken is not None:
                raise self._broken
            # In a thread: the engine and its libraries take a moment to load, the log's directory to make (P9).
            await asyncio.to_thread(_log_to_file, self._settings)
            factory = self._factory
            if factory is None:
                factory = await asyncio.to_thread(_own_factory, self._settings, self._address)
            service = factory(self._settings)
            self._orchestrator = await service.start()
            self._service = service
        except PoError as error:
            self._log.error("po_jupyter: the orchestrator did not start: %s", error)
            self._failed = (time.monotonic(), error)
            if isinstance(error, StoreError | Unavailable):
                self._try_again()
        except Exception as error:
            if (known := exhaustion(error)) is not None:
                self._log.error("po_jupyter: the orchestrator did not start: %s", known)
                self._failed = (time.monotonic(), known)
                self._try_again()
                return
            self._log.exception("po_jupyter: the orchestrator did not start")
            message = f"the orchestrator did not start: {type(error).__name__}"
            self._failed = (time.monotonic(), Unavailable(message, hint="The server's log says why."))

    def _try_again(self) -> None:
        # A full disk, for now: the runs in the store wait for a start, whether or not somebody asks.
        if not self._stopped:
            self._again = asyncio.get_running_loop().call_later(RETRY_AFTER, self.begin)

    async def ready(self) -> OrchestratorApi:
        """The running one. Raises what kept it from starting, or Unavailable while it starts for long."""
        if (running := self._running()) is not None:
            return running
        if self._stopped:
            raise Unavailable(STOPPING)
        if self._starting is None or (self._failed and time.monotonic() - self._failed[0] > RETRY_AFTER):
            self.begin()
        assert self._starting is not None
        await asyncio.wait({self._starting}, timeout=START_PATIENCE)
        if self._failed is not None:
            raise self._failed[1]
        if (running := self._running()) is None:
            raise Unavailable("the orchestrator is still starting", hint="Try again in a moment.")
        return running

    def _running(self) -> OrchestratorApi | None:
        return self._orchestrator

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop: its threads may be closed and its store shut."""
        return self._stopped

    async def readiness(self) -> ReadinessReport:
        """`{ready, orchestrator, store}`. Asks what serves everybody else: threads that hang are not ready."""
        orchestrator = self._orchestrator
        if orchestrator is None:
            reason = self._failed[1].message if self._failed else "starting"
            return {"ready": False, "orchestrator": False, "store": reason}
        report = orchestrator.ready()
        if not report["ready"]:
            return report
        if self._probe is None or self._probe.done():  # one at a time, however many ask while it hangs
            self._probe = asyncio.create_task(_probe(orchestrator, report))
        done, _ = await asyncio.wait({self._probe}, timeout=PROBE_PATIENCE)
        if done:
            return self._probe.result()
        return {**report, "ready": False, "store": f"no answer for {PROBE_PATIENCE:.0f} s"}

    def live_runs(self) -> int:
        """Runs at work or queued."""
        return self._orchestrator.live_runs() if self._orchestrator is not None else 0

    async def stop(self) -> None:
        """Drain and stop it; one that is still starting is waited for, so that nothing of it is left."""
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
        if self._starting is not None:
            await asyncio.wait({self._starting}, timeout=START_PATIENCE)
        self._orchestrator = None
        service, self._service = self._service, None
        if service is not None:
            try:
                async with asyncio.timeout(STOP_PATIENCE):
                    await service.stop()
            except TimeoutError:
                self._log.error("po_jupyter: the orchestrator did not stop in time; the server ends without it")


def stop_or_exhaustion(error: BaseException, host: OrchestratorHost) -> PoError | None:
    """What a request is told where threads and store were closed under it, since the server stops, or the machine had
    nothing left; None for other errors, and for a request that is cancelled itself."""
    if isinstance(error, PoError | HTTPError):
        return None
    if isinstance(error, asyncio.CancelledError) and (task := asyncio.current_task()) and task.cancelling():
        return None
    return Unavailable(STOPPING) if host.stopping else exhaustion(error)


async def _probe(orchestrator: OrchestratorApi, report: ReadinessReport) -> ReadinessReport:
    """The report, with what the threads and the store that requests are served from say."""
    try:
        found = await orchestrator.monitoring.probe()
    except PoError as error:
        return {**report, "ready": False, "store": error.message}
    except Exception as error:  # they are closed, or no thread can be started
        return {**report, "ready": False, "store": f"{type(error).__name__}: {error}"[:200]}
    report = {**report, "orchestrator": found.works}
    if found.broker is not None:  # runs are taken without it too: a hint is all that is missing
        report["broker"] = "ok" if found.broker else "it does not answer"
    return report


def _log_to_file(settings: Settings) -> None:
    from po_jupyter.telemetry import logging

    # A directory that cannot be made keeps the store from opening too, and that error says more.
    with suppress(OSError):
        logging.configure(settings, file=settings.data_dir / "logs" / "orchestrator.log")


def check_settings(settings: Settings) -> None:
    """Raises InvalidSettings for settings that the orchestrator would not start with."""
    from po_jupyter.orchestrator.service import check_settings

    check_settings(settings)


def audit_log(settings: Settings) -> AuditTrail:
    """The audit log; its module is imported with the first change, not at the server's start."""
    from po_jupyter.orchestrator.events.audit_log import AuditLog

    return AuditLog(settings.data_dir / "audit")


def _own_factory(settings: Settings, address: JsonObject | None) -> OrchestratorFactory:
    # Here alone the server knows more of the orchestrator than `routing.api`.
    from po_jupyter.orchestrator.service import Orchestrator

    if settings.store is None:
        return partial(Orchestrator, address=address)
    from po_jupyter.distributed.node import NodeDistribution, node_settings

    def node(settings: Settings) -> OrchestratorService:
        own = node_settings(settings)
        return Orchestrator(own, address=address, distribution=NodeDistribution(own))

    return node
