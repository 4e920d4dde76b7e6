"""Keys of providers. A key is never part of an answer."""

from __future__ import annotations

from typing import Any

from po_jupyter.server.routing.request import ApiRequest, JsonResponse


async def list_keys(call: ApiRequest) -> Any:
    """Keys of providers, masked: whether there is one, where it comes from, whom it is for."""
    return {"keys": await call.orchestrator.list_keys()}


async def set_key(call: ApiRequest) -> Any:
    """Keep a provider's key where the orchestrator runs; the next run has it."""
    key = call.body.key.get_secret_value()
    return {"key": await call.orchestrator.set_key(call.path["provider"], key)}


async def remove_key(call: ApiRequest) -> Any:
    """Forget the stored key of a provider."""
    await call.orchestrator.remove_key(call.path["provider"])
    return JsonResponse(None, 204)
