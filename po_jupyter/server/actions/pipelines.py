"""Pipelines: registered definitions, and the check of one."""

from __future__ import annotations

from po_jupyter.server.routing.request import ApiRequest, JsonResponse, body_fields
from po_jupyter.server.routing.shapes import DefinitionBody, Query, ValidateBody


async def list_pipelines(request: ApiRequest[Query, None]) -> JsonResponse:
    """Registered pipelines."""
    return JsonResponse({"pipelines": await request.orchestrator.pipelines.summaries(owner=request.owner)})


async def put_pipeline(request: ApiRequest[Query, DefinitionBody]) -> JsonResponse:
    """Register a definition."""
    stored, created = await request.orchestrator.pipelines.put(
        request.path["name"], dict(request.body), owner=request.owner, code_allowed=request.code_allowed
    )
    return JsonResponse({"pipeline": stored}, 201 if created else 200)


async def get_pipeline(request: ApiRequest[Query, None]) -> JsonResponse:
    """A registered definition."""
    definition = await request.orchestrator.pipelines.get(request.path["name"], owner=request.owner)
    return JsonResponse({"pipeline": definition})


async def delete_pipeline(request: ApiRequest[Query, None]) -> JsonResponse:
    """Forget a registered definition; runs keep theirs."""
    await request.orchestrator.pipelines.delete(request.path["name"], owner=request.owner)
    return JsonResponse(None, 204)


async def validate(request: ApiRequest[Query, ValidateBody]) -> JsonResponse:
    """Check a pipeline (and a seed); starts nothing."""
    body = body_fields(request.body)
    return JsonResponse(await request.orchestrator.submissions.validate(body, owner=request.owner))
