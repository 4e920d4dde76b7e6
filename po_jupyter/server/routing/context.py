"""What a request needs of the extension that serves it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from po_jupyter.config import Settings
    from po_jupyter.orchestrator.events.audit_log import AuditLog
    from po_jupyter.server.auth import RequestLimiter
    from po_jupyter.server.lifecycle import OrchestratorLifecycle


class ServerContext(Protocol):
    """See `server.extension.PoExtension`. `streams` are the answers that are still being sent."""

    po_settings: Settings
    limiter: RequestLimiter
    host: OrchestratorLifecycle
    streams: set[asyncio.Task[None]]

    @property
    def audit(self) -> AuditLog:
        """Where every change is told."""
