"""What is in a run: outputs, files, rows, calls, logs."""

from __future__ import annotations

from typing import Any

from po_jupyter.server.routing.request import ApiRequest, FileResponse
from po_jupyter.server.routing.shapes import CallsQuery, ItemsQuery, LogsQuery


async def outputs(call: ApiRequest) -> Any:
    """Outputs of finished tasks."""
    return {"outputs": await call.orchestrator.outputs(call.path["id"], call.owner, call.query.task)}


async def artifacts(call: ApiRequest) -> Any:
    """Files that finished tasks wrote, and those that came with the seed."""
    return {"artifacts": await call.orchestrator.artifacts(call.path["id"], call.owner)}


async def artifact(call: ApiRequest) -> Any:
    """One of these files."""
    name = call.path["path"]
    return FileResponse(
        await call.orchestrator.artifact(call.path["id"], call.owner, name), name.rpartition("/")[2]
    )


async def items(call: ApiRequest) -> Any:
    """Rows of a map, in order."""
    query: ItemsQuery = call.query
    rows, cursor = await call.orchestrator.items(
        call.path["id"], call.owner, query.task, state=query.state, cursor=query.cursor, limit=query.limit
    )
    return {"items": rows, "next": cursor}


async def calls(call: ApiRequest) -> Any:
    """Calls to models, from the journal."""
    query: CallsQuery = call.query
    rows, cursor = await call.orchestrator.calls(
        call.path["id"], call.owner, query.task, cursor=query.cursor, limit=query.limit, state=query.state
    )
    return {"calls": rows, "next": cursor}


async def logs(call: ApiRequest) -> Any:
    """What the stages of a run printed: the end of each log."""
    query: LogsQuery = call.query
    found = await call.orchestrator.logs(call.path["id"], call.owner, query.task, query.stage)
    return {"logs": found}
