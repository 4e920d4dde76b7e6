"""The Jupyter Server extension: it hosts the orchestrator on the server's loop and gives it its routes.

Nothing here delays the server's start: the orchestrator is started in the background, `ready` says when it is
there, and a request that comes earlier waits a moment for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from jupyter_server.extension.application import ExtensionApp
from traitlets import Dict, Float, Integer, Type, Unicode

from po_jupyter import config
from po_jupyter.errors import PoError
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform.server_address import server_address
from po_jupyter.server.activity import report
from po_jupyter.server.auth import Authenticator, RequestLimiter
from po_jupyter.server.hub_work import tell, token_of_server
from po_jupyter.server.interrupt import stop_on_interrupt
from po_jupyter.server.json_bodies import BodyMemory
from po_jupyter.server.lifecycle import OrchestratorLifecycle, audit_log
from po_jupyter.server.routing.api import OrchestratorFactory, OrchestratorService

if TYPE_CHECKING:
    from po_jupyter.server.routing.context import AuditTrail

_BODIES = 3  # of the largest size, that one may send at once
_FORWARDED = {
    "po_data_dir": "data_dir",  # Jupyter's own applications have a data_dir, for kernelspecs and the like
    "max_running": "max_running",
    "default_model": "default_model",
    "shutdown_timeout": "shutdown_timeout",
    "requests_per_minute": "requests_per_minute",
    "max_request_bytes": "max_request_bytes",
}


class PoExtension(ExtensionApp):
    """Prompt pipelines that live in a notebook and outlive it."""

    name = "po_jupyter"
    description = __doc__ or ""
    load_other_extensions = False

    po_data_dir = Unicode(
        None,
        allow_none=True,
        help="""The directory with runs and pipelines. None (default): PO_DATA_DIR, else the user's data
        directory. It must not be on a network file system.""",
    ).tag(config=True)
    max_running = Integer(
        None, allow_none=True, help="Runs that work at the same time; others queue. None (default): 16."
    ).tag(config=True)
    default_model = Unicode(
        None,
        allow_none=True,
        help="Model of prompt tasks that name none, as provider:model. None (default): the local one.",
    ).tag(config=True)
    shutdown_timeout = Float(
        None,
        allow_none=True,
        help="""Seconds that a stopping server waits for its workers to finish calls in flight; it ends none. None
        (default): 2, where the end of the server is that of its container 8, in Kubernetes 25.""",
    ).tag(config=True)
    requests_per_minute = Integer(
        None, allow_none=True, help="Requests that one token may send in a minute. None (default): 6000."
    ).tag(config=True)
    max_request_bytes = Integer(
        None, allow_none=True, help="Bytes of the largest request body. None (default): 64 MiB."
    ).tag(config=True)
    options = Dict(
        help="""Any further settings by name, e.g. {"log_format": "console"}. `po config schema` lists them.
        They weigh more than the environment and the settings file."""
    ).tag(config=True)
    orchestrator_class = Type(
        None,
        allow_none=True,
        klass=OrchestratorService,
        help="""The class that runs the runs: it is made with the settings, then started and stopped, and its `start`
        returns the parts (po_jupyter.server.routing.api.OrchestratorApi). None (default): po_jupyter's own.""",
    ).tag(config=True)

    def initialize_settings(self) -> None:
        """Read the settings once; errors in them are told by every route, not by a server that fails."""
        traits = {to: value for name, to in _FORWARDED.items() if (value := getattr(self, name)) is not None}
        broken: PoError | None = None
        try:
            self.po_settings = config.load(jupyter={**self.options, **traits})
        except PoError as error:
            self.log.error("po_jupyter: %s", error)
            broken = error
            self.po_settings = config.Settings()
        self.authenticator = Authenticator(self.po_settings)
        self.limiter = RequestLimiter(self.po_settings.requests_per_minute)
        self.bodies = BodyMemory(_BODIES * self.po_settings.max_request_bytes)
        self.streams: set[asyncio.Task[None]] = set()
        factory = cast("OrchestratorFactory | None", self.orchestrator_class)
        self.host = OrchestratorLifecycle(self.po_settings, factory, self.log, broken)
        self._reporter: asyncio.Task[None] | None = None
        self._teller: asyncio.Task[None] | None = None

    @property
    def audit(self) -> AuditTrail:
        """The audit log of the data directory."""
        return audit_log(self.po_settings)

    def initialize_handlers(self) -> None:
        """One handler for the whole prefix, unknown paths included."""
        from po_jupyter.server.handler import ApiHandler
        from po_jupyter.server.routes import TABLE
        from po_jupyter.server.routing.table import PREFIX
        from po_jupyter.server.shared_proxy import SharedRunsHandler

        kwargs = {"extension": self, "table": TABLE}
        if not self.po_settings.hub_behalf:
            self.handlers.append((rf"/{PREFIX}/shared(?P<path>/.*)", SharedRunsHandler, kwargs))
        self.handlers.append((rf"/{PREFIX}(?P<path>(?:/.*)?)", ApiHandler, kwargs))

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        stop_on_interrupt(serverapp)
        self.host.begin(self._address(serverapp))
        times = serverapp.web_app.settings["last_activity_times"]
        self._reporter = asyncio.create_task(report(times, self.host.live_runs))
        hub_url = self.po_settings.hub_url
        if hub_url is not None and not self.po_settings.hub_behalf and (token := token_of_server(hub_url)):
            self._teller = asyncio.create_task(tell(hub_url, token, self.host.ready, self.host.live_runs))

    def _address(self, serverapp: Any) -> JsonObject:
        """Where clients of the same person find this server, with the token that is theirs alone."""
        address = server_address(serverapp.server_info())
        if serverapp.name == "po-headless":  # whose token nobody else has
            return {"kind": "headless", **address._asdict(), "token": serverapp.identity_provider.token}
        return {"kind": "jupyter", **address._asdict(), "token": self.authenticator.own_token}

    async def stop_extension(self) -> None:
        """End the streams, then have the orchestrator hand over. Not guaranteed to be called; nothing depends on it."""
        ending = [*self.streams, *(task for task in (self._reporter, self._teller) if task is not None)]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self.host.stop()
