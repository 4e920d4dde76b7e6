"""Results of a run: outputs, files, rows, calls, logs."""

from __future__ import annotations

from po_jupyter.server.routing.request import ApiRequest, FileResponse, JsonResponse
from po_jupyter.server.routing.shapes import CallsQuery, ItemsQuery, LogsQuery, OutputsQuery, Query


async def pipeline(request: ApiRequest[Query, None]) -> JsonResponse:
    """The pipeline that a run was submitted with, and for each of its tasks those that it waits for."""
    return JsonResponse(await request.orchestrator.results.pipeline(request.path["id"], request.owner))


async def outputs(request: ApiRequest[OutputsQuery, None]) -> JsonResponse:
    """Outputs of finished tasks."""
    by_task = await request.orchestrator.results.outputs(request.path["id"], request.owner, request.query.task)
    return JsonResponse({"outputs": by_task})


async def artifacts(request: ApiRequest[Query, None]) -> JsonResponse:
    """Files that finished tasks wrote, and those that came with the seed."""
    listed = await request.orchestrator.results.artifacts(request.path["id"], request.owner)
    return JsonResponse({"artifacts": listed})


async def artifact(request: ApiRequest[Query, None]) -> FileResponse:
    """One of these files."""
    name = request.path["path"]
    content = await request.orchestrator.results.artifact(request.path["id"], request.owner, name)
    return FileResponse(content, name.rpartition("/")[2])


async def items(request: ApiRequest[ItemsQuery, None]) -> JsonResponse:
    """Rows of a map, in order: `{index, ok, output, error, usage, reused}` each. A row of a seed with an index also has
    its `label` and the list `of` which it is; `row` is its place there where that is not `index`."""
    query = request.query
    rows, cursor = await request.orchestrator.results.items(
        request.path["id"], request.owner, query.task,
        state=query.state, cursor=query.cursor, limit=query.limit,
    )  # fmt: skip
    return JsonResponse({"items": rows, "next": cursor})


async def calls(request: ApiRequest[CallsQuery, None]) -> JsonResponse:
    """Calls to models, from the journal."""
    query = request.query
    journal, cursor = await request.orchestrator.results.calls(
        request.path["id"], request.owner, query.task,
        cursor=query.cursor, limit=query.limit, state=query.state,
    )  # fmt: skip
    return JsonResponse({"calls": journal, "next": cursor})


async def logs(request: ApiRequest[LogsQuery, None]) -> JsonResponse:
    """What the stages of a run printed: the end of each log."""
    query = request.query
    texts = await request.orchestrator.results.logs(request.path["id"], request.owner, query.task, query.stage)
    return JsonResponse({"logs": texts})
