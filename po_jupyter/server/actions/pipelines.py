"""Definitions: those that are registered, and the check of one."""

from __future__ import annotations

from typing import Any

from po_jupyter.server.routing.request import Answer, Call, given


async def list_pipelines(call: Call) -> Any:
    """Registered pipelines."""
    return {"pipelines": await call.orchestrator.list_pipelines(owner=call.owner)}


async def put_pipeline(call: Call) -> Any:
    """Register a definition."""
    definition = dict(call.body)
    kept, created = await call.orchestrator.put_pipeline(call.path["name"], definition, owner=call.owner)
    return Answer({"pipeline": kept}, 201 if created else 200)


async def get_pipeline(call: Call) -> Any:
    """A registered definition."""
    return {"pipeline": await call.orchestrator.get_pipeline(call.path["name"], owner=call.owner)}


async def delete_pipeline(call: Call) -> Any:
    """Forget a registered definition; runs keep theirs."""
    await call.orchestrator.delete_pipeline(call.path["name"], owner=call.owner)
    return Answer(None, 204)


async def validate(call: Call) -> Any:
    """Check a pipeline (and a seed); starts nothing."""
    return await call.orchestrator.validate(given(call.body), owner=call.owner)
