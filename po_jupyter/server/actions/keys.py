"""Keys of providers. A key is never part of a response."""

from __future__ import annotations

from po_jupyter.server.routing.request import ApiRequest, JsonResponse
from po_jupyter.server.routing.shapes import KeyBody, Query


async def list_keys(request: ApiRequest[Query, None]) -> JsonResponse:
    """Keys of providers, masked: whether there is one, where it comes from, whom it is for."""
    return JsonResponse({"keys": await request.orchestrator.environment.list_keys()})


async def set_key(request: ApiRequest[Query, KeyBody]) -> JsonResponse:
    """Keep a provider's key where the orchestrator runs; the next run has it."""
    key = request.body.key.get_secret_value()
    state = await request.orchestrator.environment.set_key(request.path["provider"], key)
    return JsonResponse({"key": state})


async def remove_key(request: ApiRequest[Query, None]) -> JsonResponse:
    """Forget the stored key of a provider."""
    await request.orchestrator.environment.remove_key(request.path["provider"])
    return JsonResponse(None, 204)
