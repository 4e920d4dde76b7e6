"""Usage, cleaning, the audit log."""

from __future__ import annotations

import asyncio

from po_jupyter.config import owner
from po_jupyter.server.routing.request import ApiRequest, JsonResponse
from po_jupyter.server.routing.shapes import AuditQuery, CleanBody, Query, UsageQuery


async def usage(request: ApiRequest[UsageQuery, None]) -> JsonResponse:
    """What my calls used by day, and how much room my runs take."""
    return JsonResponse(await request.orchestrator.maintenance.usage(request.owner, days=request.query.days))


async def clean(request: ApiRequest[Query, CleanBody]) -> JsonResponse:
    """Delete old ended runs, or say which would go; what can be resumed stays unless its state is named. With
    `cache`, my cached answers of models instead."""
    body = request.body
    report = await request.orchestrator.maintenance.clean(
        request.owner, dry_run=body.dry_run, older_than=body.older_than, states=body.states, cache=body.cache
    )
    return JsonResponse(report)


async def notifications(request: ApiRequest[Query, None]) -> JsonResponse:
    """Who is told of ends, failures and gates, what waits to be delivered, and why; addresses are not shown."""
    return JsonResponse({"channels": await request.orchestrator.maintenance.notifications()})


async def audit(request: ApiRequest[AuditQuery, None]) -> JsonResponse:
    """Who changed what, and when; the newest first."""
    query = request.query
    await asyncio.to_thread(owner.check, request.extension.po_settings.data_dir)  # nobody reads another's
    entries, cursor = await asyncio.to_thread(
        request.extension.audit.read, cursor=query.cursor, limit=query.limit
    )
    return JsonResponse({"entries": entries, "next": cursor})
