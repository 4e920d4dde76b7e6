"""Files of rows, by their SHA-256."""

from __future__ import annotations

from collections.abc import Mapping

from po_jupyter.server.routing.api import OrchestratorApi, UploadApi
from po_jupyter.server.routing.request import ApiRequest, JsonResponse
from po_jupyter.server.routing.shapes import Query


async def receive_blob(orchestrator: OrchestratorApi, owner: str, path: Mapping[str, str]) -> UploadApi:
    """Begin to receive the bytes of PUT blobs."""
    return await orchestrator.submissions.receive_rows(path["sha256"], owner)


async def put_blob(request: ApiRequest[Query, None]) -> JsonResponse:
    """Keep a file of rows (JSON lines) under its SHA-256; the same file again changes nothing."""
    assert request.upload is not None, "the route has `receive`"
    return JsonResponse({"blob": await request.upload.finish()}, 201)


async def get_blob(request: ApiRequest[Query, None]) -> JsonResponse:
    """Whether a file of rows is here: its size and its number of rows."""
    info = await request.orchestrator.submissions.row_file(request.path["sha256"], request.owner)
    return JsonResponse({"blob": info})
