"""What this server is and whether it works."""

from __future__ import annotations

from typing import Any

from po_jupyter.server.routing.request import Answer, Call


async def health(call: Call) -> Any:
    """The server answers."""
    return {"status": "ok"}


async def ready(call: Call) -> Any:
    """Whether runs can be started; 503 when not."""
    state = call.extension.host.readiness()
    return Answer(state, 200 if state.get("ready") else 503)


async def meta(call: Call) -> Any:
    """Version, user, orchestrator, limits, providers."""
    return {**call.orchestrator.meta(), "user": {"name": call.owner}}


async def models(call: Call) -> Any:
    """Models that can be used now, with prices, and why not the others."""
    return {"models": await call.orchestrator.models(word=call.query.word, provider=call.query.provider)}


async def doctor(call: Call) -> Any:
    """What could keep runs from working where the orchestrator runs, each finding with what to do."""
    return {"findings": await call.orchestrator.doctor(online=call.query.online)}
