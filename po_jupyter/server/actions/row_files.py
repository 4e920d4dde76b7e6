"""Files of rows, by their SHA-256."""

from __future__ import annotations

from typing import Any

from po_jupyter.server.routing.request import ApiRequest, JsonResponse


async def receive_blob(orchestrator: Any, owner: str, path: dict[str, str]) -> Any:
    """Where the bytes of PUT blobs go."""
    return await orchestrator.receive_blob(path["sha256"], owner)


async def put_blob(call: ApiRequest) -> Any:
    """Keep a file of rows (JSON lines) under its SHA-256; the same file again changes nothing."""
    return JsonResponse({"blob": await call.upload.keep()}, 201)


async def get_blob(call: ApiRequest) -> Any:
    """Whether a file of rows is here: its size and its number of rows."""
    return {"blob": await call.orchestrator.blob(call.path["sha256"], call.owner)}
