"""The servers of local models: one per model, shared by all workers of the orchestrator that holds the
store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from po_jupyter.config import Settings
from po_jupyter.errors import PoError, Unavailable
from po_jupyter.ipc.messages import ResourceRequest
from po_jupyter.llm.local.server import LocalServer
from po_jupyter.llm.wire.exchange import ProviderEndpoint

log = structlog.get_logger(__name__)

IDLE = 600.0  # s without anybody asking after which a server is stopped
_LOOK = 30.0  # s between looks for idle servers
_SAY = 1.0  # s between notes of progress

Tell = Callable[[str], None]


@dataclass(slots=True)
class _Served:
    server: LocalServer
    asked: float = 0.0
    said: float = 0.0
    listeners: list[Tell] = field(default_factory=list)


class LocalModels:
    """Starts a model's server when a worker needs it, again when it died, and ends it when nobody asks any
    more."""

    def __init__(self, settings: Settings, *, idle: float = IDLE) -> None:
        self._settings = settings
        self._idle = idle
        self._served: dict[str, _Served] = {}
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    async def endpoint(self, request: ResourceRequest, tell: Tell) -> ProviderEndpoint:
        """Where the server of the model that a worker requests listens; `tell` hears what it waits for meanwhile.
        Raises ModelError, Unavailable."""
        if request.what != "local_model" or request.model is None or self._closed:
            raise Unavailable(f"the orchestrator cannot give {request.what!r:.40}")
        model = request.model
        served = self._served.get(model)
        if served is None:
            served = self._served[model] = self._new(model)
        served.asked = time.monotonic()
        if self._watch is None:
            self._watch = asyncio.create_task(self._stop_idle(), name="local models")
        served.listeners.append(tell)
        try:
            return await served.server.ready()
        except PoError as error:
            log.error("no local model", model=model, error=error.message)
            raise
        finally:
            served.listeners.remove(tell)

    def _new(self, model: str) -> _Served:
        loop = asyncio.get_running_loop()

        def progress(done: int, total: int | None) -> None:  # in a thread
            of = f" of {total / 1e6:.0f}" if total else ""
            loop.call_soon_threadsafe(self._say, model, f"the weights of {model} ({done / 1e6:.0f}{of} MB)")

        log.info("local model", model=model)
        return _Served(LocalServer(model, directory=self._settings.models_dir, progress=progress))

    def _say(self, model: str, text: str) -> None:
        served = self._served.get(model)
        if served is not None and time.monotonic() - served.said >= _SAY:
            served.said = time.monotonic()
            log.info("fetching", model=model, what=text)
            for tell in served.listeners:
                tell(text)

    async def _stop_idle(self) -> None:
        while True:
            await asyncio.sleep(min(_LOOK, self._idle))
            for model, served in list(self._served.items()):
                if not served.listeners and time.monotonic() - served.asked > self._idle:
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
