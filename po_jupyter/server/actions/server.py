"""What this server is and whether it works."""

from __future__ import annotations

from typing import Any

from po_jupyter.server.routing.request import ApiRequest, JsonResponse


async def health(call: ApiRequest) -> Any:
    """The server answers."""
    return {"status": "ok"}


async def ready(call: ApiRequest) -> Any:
    """Whether runs can be started; 503 when not."""
    state = call.extension.host.readiness()
    return JsonResponse(state, 200 if state.get("ready") else 503)


async def meta(call: ApiRequest) -> Any:
    """Version, user, orchestrator, limits, providers."""
    return {**call.orchestrator.meta(), "user": {"name": call.owner}}


async def models(call: ApiRequest) -> Any:
    """Models that can be used now, with prices, and why not the others."""
    return {"models": await call.orchestrator.models(word=call.query.word, provider=call.query.provider)}


async def doctor(call: ApiRequest) -> Any:
    """What could keep runs from working where the orchestrator runs, each finding with what to do."""
    return {"findings": await call.orchestrator.doctor(online=call.query.online)}
