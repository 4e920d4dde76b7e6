"""The port at which a node without Jupyter answers what watches it: whether it lives, and whether it can be used.

    GET /health    200 as long as the node's loop answers
    GET /ready     200 when the store can be read and written, else 503; {ready, orchestrator, broker}

Without a token, since a probe of Kubernetes has none: nothing is said but yes and no, and nothing else is served.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from po_jupyter.errors import PoError, Unavailable
from po_jupyter.orchestrator.monitoring.service import ProbeReport

_PATIENCE = 2.0  # s in which what is ready answers
_log = structlog.get_logger(__name__)


class NodeHealth:
    """Answers for one node. `probe` reads and writes its store, once it has started; it raises StoreError."""

    def __init__(self) -> None:
        """The node starts: it lives, and is not ready."""
        self.probe: Callable[[], Awaitable[ProbeReport]] | None = None
        self._looking: asyncio.Task[ProbeReport | None] | None = None

    async def health(self, request: web.Request) -> web.Response:
        """The loop answers."""
        return web.json_response({"status": "ok"})

    async def ready(self, request: web.Request) -> web.Response:
        """The store can be used, by the threads that the runs need too."""
        if self._looking is None or self._looking.done():  # one at a time, however many ask while it hangs
            self._looking = asyncio.create_task(self._look())
        done, _ = await asyncio.wait({self._looking}, timeout=_PATIENCE)
        found = self._looking.result() if done else None
        if found is None:
            return web.json_response({"ready": False, "orchestrator": False, "broker": None}, status=503)
        return web.json_response({"ready": True, "orchestrator": found.works, "broker": found.broker})

    async def _look(self) -> ProbeReport | None:
        if self.probe is None:
            return None
        try:
            return await self.probe()
        except PoError as error:
            _log.warning("this node is not ready", error=error.message)
        except Exception as error:  # its threads are closed, or no more can be started
            _log.warning("this node is not ready", error=repr(error)[:200])
        return None

    async def close(self) -> None:
        """Wait for no answer any more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})


def routes(health: NodeHealth) -> list[web.RouteDef]:
    """All that is served."""
    return [web.get("/health", health.health), web.get("/ready", health.ready)]


@asynccontextmanager
async def answering(health: NodeHealth, port: int) -> AsyncIterator[None]:
    """Answer at `port` of all addresses of this machine. Raises Unavailable where it is taken."""
    application = web.Application(client_max_size=1024)
    application.add_routes(routes(health))
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, port=port).start()
        except OSError as error:
            raise Unavailable(
                f"nothing can listen on port {port} for probes: {error.strerror or error}",
                hint="Name a free one: PO_HEALTH_PORT.",
            ) from error
        yield
    finally:
        await health.close()
        await runner.cleanup()
