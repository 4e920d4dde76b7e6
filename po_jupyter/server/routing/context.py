"""The server's side of a request: what it needs of the extension that serves it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from po_jupyter.config import Settings
    from po_jupyter.server.auth import Authenticator
    from po_jupyter.server.routing.api import JsonMapping, OrchestratorApi
    from po_jupyter.server.routing.monitoring import ReadinessReport


class RequestCounter(Protocol):
    """Counts the requests of each credentials, see `server.auth.RequestLimiter`."""

    def count(self, key: str) -> None:
        """Count one. Raises RateLimited."""


class BodyCounter(Protocol):
    """Counts the bytes of the bodies that each credentials have sent, see `server.json_bodies.BodyMemory`."""

    def hold(self, key: str, size: int) -> None:
        """Hold more bytes. Raises RateLimited."""

    def release(self, key: str, size: int) -> None:
        """Hold them no longer."""


class OrchestratorHost(Protocol):
    """The host of the orchestrator, see `server.lifecycle.OrchestratorLifecycle`."""

    async def ready(self) -> OrchestratorApi:
        """The running orchestrator. Raises what kept it from starting, or Unavailable."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop: its threads may be closed and its store shut."""
        ...

    async def readiness(self) -> ReadinessReport:
        """The readiness of the orchestrator, as far as its threads and its store answer."""
        ...


class AuditTrail(Protocol):
    """The audit log. It blocks: call it in a thread."""

    def append(self, *, by: str, action: str, **about: object) -> None:
        """Write one entry. Raises nothing."""

    def read(self, *, cursor: str | None = None, limit: int = 100) -> tuple[Sequence[JsonMapping], str | None]:
        """The newest entries first, and the cursor of the page after them. InvalidInput for a wrong cursor."""
        ...


class ServerContext(Protocol):
    """The parts of `server.extension.PoExtension` that requests use. `streams` are the answers still being sent."""

    po_settings: Settings
    streams: set[asyncio.Task[None]]

    @property
    def authenticator(self) -> Authenticator:
        """Who asks, and the scoped tokens of the data directory."""
        ...

    @property
    def limiter(self) -> RequestCounter:
        """Of this server alone."""
        ...

    @property
    def bodies(self) -> BodyCounter:
        """Of this server alone."""
        ...

    @property
    def host(self) -> OrchestratorHost:
        """The orchestrator's life."""
        ...

    @property
    def audit(self) -> AuditTrail:
        """The log of every change."""
        ...
