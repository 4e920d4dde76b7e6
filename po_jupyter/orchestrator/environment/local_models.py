"""Local models: a server for each, shared by all workers of the orchestrator that holds the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from po_jupyter.config import Settings
from po_jupyter.errors import PoError, Unavailable
from po_jupyter.llm.local.server import LocalServer
from po_jupyter.llm.specs import ProviderEndpoint

log = structlog.get_logger(__name__)

IDLE = 600.0  # s without a request after which a server is stopped
_CHECK = 30.0  # s between checks for idle servers
_REPORT = 1.0  # s between reports of progress

Progress = Callable[[str], None]


@dataclass(slots=True)
class _Served:
    server: LocalServer
    requested: float = 0.0
    reported: float = 0.0
    listeners: list[Progress] = field(default_factory=list)


class LocalModels:
    """Starts a model's server when a worker needs it, again when it died, and ends it when it is idle."""

    def __init__(self, settings: Settings, *, idle: float = IDLE) -> None:
        """`idle` is in seconds."""
        self._settings = settings
        self._idle = idle
        self._served: dict[str, _Served] = {}
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    async def endpoint(self, model: str, progress: Progress) -> ProviderEndpoint:
        """The endpoint of a model; `progress` is called with what it waits for meanwhile. Raises ModelError,
        Unavailable."""
        if self._closed:
            raise Unavailable("the orchestrator is stopping")
        served = self._served.get(model)
        if served is None:
            served = self._served[model] = self._new(model)
        served.requested = time.monotonic()
        if self._watch is None:
            self._watch = asyncio.create_task(self._stop_idle(), name="local models")
        served.listeners.append(progress)
        try:
            return await served.server.ready()
        except PoError as error:
            log.error("no local model", model=model, error=error.message)
            raise
        finally:
            served.listeners.remove(progress)

    def _new(self, model: str) -> _Served:
        loop = asyncio.get_running_loop()

        def fetched(done: int, total: int | None) -> None:  # in a thread
            of = f" of {total / 1e6:.0f}" if total else ""
            loop.call_soon_threadsafe(self._report, model, f"the weights of {model} ({done / 1e6:.0f}{of} MB)")

        log.info("local model", model=model)
        return _Served(LocalServer(model, directory=self._settings.models_dir, progress=fetched))

    def _report(self, model: str, text: str) -> None:
        served = self._served.get(model)
        if served is not None and time.monotonic() - served.reported >= _REPORT:
            served.reported = time.monotonic()
            log.info("fetching", model=model, what=text)
            for progress in served.listeners:
                progress(text)

    async def _stop_idle(self) -> None:
        while True:
            await asyncio.sleep(min(_CHECK, self._idle))
            for model, served in list(self._served.items()):
                if not served.listeners and time.monotonic() - served.requested > self._idle:
                    del self._served[model]
                    log.info("local model stopped", model=model, why="idle")
                    await served.server.stop()

    async def close(self) -> None:
        """End them all."""
        self._closed = True
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        served, self._served = list(self._served.values()), {}
        await asyncio.gather(*(s.server.stop() for s in served), return_exceptions=True)
