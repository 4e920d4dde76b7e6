"""Runs: start, find, control; dead letters too, which are runs."""

from __future__ import annotations

from po_jupyter.model.run.view import RunView
from po_jupyter.server.routing.request import ApiRequest, JsonResponse, body_fields
from po_jupyter.server.routing.shapes import (
    DeadQuery,
    EmptyBody,
    EstimateBody,
    ForkBody,
    GateBody,
    ListRuns,
    Query,
    RequeueBody,
    RestartBody,
    ResumeBody,
    RunQuery,
    SubmitBody,
)
from po_jupyter.server.sse.streams import run_json


async def submit(request: ApiRequest[Query, SubmitBody]) -> JsonResponse:
    """Start a run: durable when this answers. The same idempotency key gives the same run."""
    view, created = await request.orchestrator.submissions.submit(
        body_fields(request.body), owner=request.owner, code_allowed=request.code_allowed
    )
    return _run(view, 201 if created else 200)


async def estimate(request: ApiRequest[Query, EstimateBody]) -> JsonResponse:
    """What a run would cost: calls, tokens and dollars, estimated; starts nothing."""
    return JsonResponse(
        await request.orchestrator.submissions.estimate(
            body_fields(request.body), owner=request.owner, code_allowed=request.code_allowed
        )
    )


async def list_runs(request: ApiRequest[ListRuns, None]) -> JsonResponse:
    """My runs, newest first."""
    query = request.query
    views, cursor = await request.orchestrator.runs.page(
        request.owner, query.state, query.pipeline, query.cursor, query.limit,
        q=query.q, since=query.since or "", until=query.until or "", children=query.children,
    )  # fmt: skip
    return JsonResponse({"runs": [run_json(view, brief=query.brief) for view in views], "next": cursor})


async def attention(request: ApiRequest[Query, None]) -> JsonResponse:
    """My runs that need a person, whatever their age: at a gate, without room on the disk, failed, dead.

    The newest 100, and the number of all."""
    views, total = await request.orchestrator.runs.attention(request.owner)
    return JsonResponse({"runs": [run_json(view, brief=True) for view in views], "total": total})


async def get_run(request: ApiRequest[RunQuery, None]) -> JsonResponse:
    """One run, by its id or a unique end of it."""
    whole = not request.query.brief
    return _run(await request.orchestrator.runs.get(request.path["id"], request.owner, whole_seed=whole))


async def delete_run(request: ApiRequest[Query, None]) -> JsonResponse:
    """Remove an ended run."""
    await request.orchestrator.control.delete(request.path["id"], request.owner)
    return JsonResponse(None, 204)


async def cancel(request: ApiRequest[Query, EmptyBody]) -> JsonResponse:
    """Stop a run; what is finished is kept."""
    return _run(await request.orchestrator.control.cancel(request.path["id"], request.owner))


async def resume(request: ApiRequest[Query, ResumeBody]) -> JsonResponse:
    """Go on with an ended run."""
    body = request.body
    view = await request.orchestrator.control.resume(
        request.path["id"],
        request.owner,
        from_task=body.from_task,
        only_failed=body.only_failed,
        budget=body.budget,
        rows=body.rows,
        include_done=body.include_done,
        code_allowed=request.code_allowed,
    )
    return _run(view)


async def restart(request: ApiRequest[Query, RestartBody]) -> JsonResponse:
    """Do an ended run again: all of it, from a task on, or one task only."""
    body = request.body
    view = await request.orchestrator.control.restart(
        request.path["id"],
        request.owner,
        body.task,
        only=body.only,
        clear_usage=body.clear_usage,
        code_allowed=request.code_allowed,
    )
    return _run(view)


async def fork(request: ApiRequest[Query, ForkBody]) -> JsonResponse:
    """A new run with the checkpoints of the tasks before one; the old run stays as it is."""
    body = request.body
    view = await request.orchestrator.control.fork(
        request.path["id"],
        request.owner,
        body.from_task,
        seed=body.seed,
        pipeline=body.pipeline,
        idempotency_key=body.idempotency_key,
        code_allowed=request.code_allowed,
    )
    return _run(view, 201)


async def gate(request: ApiRequest[Query, GateBody]) -> JsonResponse:
    """Decide the open gate of a run."""
    body = request.body
    view = await request.orchestrator.control.gate(
        request.path["id"], request.owner, body.decision, body.note, task=body.task
    )
    return _run(view)


async def dead_letters(request: ApiRequest[DeadQuery, None]) -> JsonResponse:
    """Runs that exhausted their attempts, with their context."""
    query = request.query
    letters, cursor = await request.orchestrator.runs.dead_letters(request.owner, query.cursor, query.limit)
    return JsonResponse({"dead_letters": letters, "next": cursor})


async def requeue(request: ApiRequest[Query, RequeueBody]) -> JsonResponse:
    """Try a dead run again."""
    view = await request.orchestrator.control.requeue(
        request.path["id"], request.owner, request.body.from_task, code_allowed=request.code_allowed
    )
    return _run(view)


async def discard(request: ApiRequest[Query, None]) -> JsonResponse:
    """Remove a dead run."""
    await request.orchestrator.control.discard(request.path["id"], request.owner)
    return JsonResponse(None, 204)


def _run(view: RunView, status: int = 200) -> JsonResponse:
    return JsonResponse({"run": run_json(view)}, status)
