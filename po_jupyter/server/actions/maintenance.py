"""What was used, what may go, who changed what."""

from __future__ import annotations

import asyncio
from typing import Any

from po_jupyter.server.routing.request import ApiRequest
from po_jupyter.server.routing.shapes import AuditQuery, CleanBody


async def usage(call: ApiRequest) -> Any:
    """What my calls used by day, and how much room my runs take."""
    return await call.orchestrator.usage(call.owner, days=call.query.days)


async def clean(call: ApiRequest) -> Any:
    """Delete old ended runs, or say which would go; what can be resumed stays unless its state is named. With
    `cache`, my cached answers of models instead."""
    body: CleanBody = call.body
    return await call.orchestrator.clean(
        call.owner, dry_run=body.dry_run, older_than=body.older_than, states=body.states, cache=body.cache
    )


async def audit(call: ApiRequest) -> Any:
    """Who changed what, and when; the newest first."""
    query: AuditQuery = call.query
    entries, cursor = await asyncio.to_thread(call.extension.audit.read, cursor=query.cursor, limit=query.limit)
    return {"entries": entries, "next": cursor}
