"""Results of a run: outputs, files, rows, calls, logs, and the output of a cell."""

from __future__ import annotations

import time
from contextlib import suppress

from po_jupyter.errors import PoError
from po_jupyter.model.run.view import RunView
from po_jupyter.presentation.run_output import (
    RESULT_ROWS,
    output_result,
    result_task,
    row_results,
    run_output,
    score_results,
)
from po_jupyter.server.routing.request import ApiRequest, FileResponse, JsonResponse
from po_jupyter.server.routing.shapes import CallsQuery, ItemsQuery, LogsQuery, OutputsQuery, Query


async def pipeline(request: ApiRequest[Query, None]) -> JsonResponse:
    """The pipeline that a run was submitted with, its options, and for each of its tasks those that it waits for."""
    return JsonResponse(await request.orchestrator.results.pipeline(request.path["id"], request.owner))


async def outputs(request: ApiRequest[OutputsQuery, None]) -> JsonResponse:
    """Outputs of finished tasks."""
    by_task = await request.orchestrator.results.outputs(request.path["id"], request.owner, request.query.task)
    return JsonResponse({"outputs": by_task})


async def display(request: ApiRequest[Query, None]) -> JsonResponse:
    """A run as it stands, as a notebook's cell shows it: content by MIME type (JSON for Lab's renderer, HTML, text)."""
    run = await request.orchestrator.runs.get(request.path["id"], request.owner, whole_seed=False)
    results: list[tuple[str, str]] = []
    with suppress(PoError):  # an output that cannot be read; how the run stands is shown all the same
        results = await _results(request, run)
    return JsonResponse({"data": run_output(run, time.time(), results)})


async def _results(request: ApiRequest[Query, None], run: RunView) -> list[tuple[str, str]]:
    """The beginning of what a finished run made."""
    task = result_task(run)
    if task is None:
        return []
    results = request.orchestrator.results
    if task.items is not None:
        rows, _ = await results.items(
            run.id, request.owner, task.name, state="done", limit=RESULT_ROWS, result=True
        )
        scored = any("scores" in row for row in rows)
        scores = (
            await request.orchestrator.scores.recorded(run.id, request.owner, task.name, 0, beside=False)
            if scored
            else None
        )
        return [*(score_results(scores) if scores is not None else ()), *row_results(rows)]
    outputs = await results.outputs(run.id, request.owner, task.name)
    return output_result(task.name, outputs.get(task.name))


async def artifacts(request: ApiRequest[Query, None]) -> JsonResponse:
    """Files that finished tasks wrote, and those that came with the seed."""
    listed = await request.orchestrator.results.artifacts(request.path["id"], request.owner)
    return JsonResponse({"artifacts": listed})


async def artifact(request: ApiRequest[Query, None]) -> FileResponse:
    """One of these files."""
    name = request.path["path"]
    file = await request.orchestrator.results.artifact(request.path["id"], request.owner, name)
    return FileResponse(file, name.rpartition("/")[2])


async def items(request: ApiRequest[ItemsQuery, None]) -> JsonResponse:
    """Rows of a map, in order: `{index, ok, output, error, usage, reused}` each. A row of a seed with an index also has
    its `label` and the list `of` which it is; `row` is its place there where that is not `index`. With `result` of an
    operator the rows that it made, with `columns` of theirs, and groups with the `rows` that are in them."""
    query = request.query
    rows, cursor = await request.orchestrator.results.items(
        request.path["id"], request.owner, query.task,
        state=query.state, cursor=query.cursor, limit=query.limit, result=query.result,
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
