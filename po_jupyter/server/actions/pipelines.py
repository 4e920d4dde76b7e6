"""Definitions: those that are registered, and the check of one."""

from __future__ import annotations

from typing import Any

from po_jupyter.server.routing.request import ApiRequest, JsonResponse, body_fields


async def list_pipelines(call: ApiRequest) -> Any:
    """Registered pipelines."""
    return {"pipelines": await call.orchestrator.list_pipelines(owner=call.owner)}


async def put_pipeline(call: ApiRequest) -> Any:
    """Register a definition."""
    definition = dict(call.body)
    kept, created = await call.orchestrator.put_pipeline(call.path["name"], definition, owner=call.owner)
    return JsonResponse({"pipeline": kept}, 201 if created else 200)


async def get_pipeline(call: ApiRequest) -> Any:
    """A registered definition."""
    return {"pipeline": await call.orchestrator.get_pipeline(call.path["name"], owner=call.owner)}


async def delete_pipeline(call: ApiRequest) -> Any:
    """Forget a registered definition; runs keep theirs."""
    await call.orchestrator.delete_pipeline(call.path["name"], owner=call.owner)
    return JsonResponse(None, 204)


async def validate(call: ApiRequest) -> Any:
    """Check a pipeline (and a seed); starts nothing."""
    return await call.orchestrator.validate(body_fields(call.body), owner=call.owner)
