"""Starting runs, finding them, telling them what to do; dead letters too, which are runs."""

from __future__ import annotations

from typing import Any

from po_jupyter.server.routing.request import ApiRequest, JsonResponse, body_fields
from po_jupyter.server.routing.shapes import DeadQuery, ForkBody, ListRuns, RestartBody, ResumeBody
from po_jupyter.server.sse import streams as stream


async def submit(call: ApiRequest) -> Any:
    """Start a run: durable when this answers. The same idempotency key gives the same run."""
    view, created = await call.orchestrator.submit(
        body_fields(call.body), owner=call.owner, code_allowed=call.code_allowed
    )
    return JsonResponse({"run": stream.dump(view)}, 201 if created else 200)


async def estimate(call: ApiRequest) -> Any:
    """What a run would cost: calls, tokens and dollars, estimated; starts nothing."""
    return await call.orchestrator.estimate(
        body_fields(call.body), owner=call.owner, code_allowed=call.code_allowed
    )


async def list_runs(call: ApiRequest) -> Any:
    """My runs, newest first."""
    query: ListRuns = call.query
    views, cursor = await call.orchestrator.list(
        call.owner, query.state, query.pipeline, query.cursor, query.limit
    )
    return {"runs": [stream.dump(view) for view in views], "next": cursor}


async def get_run(call: ApiRequest) -> Any:
    """One run, by its id or a unique end of it."""
    return _run(await call.orchestrator.get(call.path["id"], call.owner))


async def delete_run(call: ApiRequest) -> Any:
    """Remove an ended run."""
    await call.orchestrator.delete(call.path["id"], call.owner)
    return JsonResponse(None, 204)


async def cancel(call: ApiRequest) -> Any:
    """Stop a run; what is finished is kept."""
    return _run(await call.orchestrator.cancel(call.path["id"], call.owner))


async def resume(call: ApiRequest) -> Any:
    """Go on with an ended run."""
    body: ResumeBody = call.body
    return _run(
        await call.orchestrator.resume(
            call.path["id"],
            call.owner,
            from_task=body.from_task,
            only_failed=body.only_failed,
            budget=body.budget,
            code_allowed=call.code_allowed,
        )
    )


async def restart(call: ApiRequest) -> Any:
    """Do an ended run again: all of it, from a task on, or one task only."""
    body: RestartBody = call.body
    return _run(
        await call.orchestrator.restart(
            call.path["id"],
            call.owner,
            body.task,
            only=body.only,
            clear_usage=body.clear_usage,
            code_allowed=call.code_allowed,
        )
    )


async def fork(call: ApiRequest) -> Any:
    """A new run with the checkpoints of the tasks before one; the old run stays as it is."""
    body: ForkBody = call.body
    view = await call.orchestrator.fork(
        call.path["id"],
        call.owner,
        body.from_task,
        seed=body.seed,
        pipeline=body.pipeline,
        code_allowed=call.code_allowed,
    )
    return JsonResponse(_run(view), 201)


async def gate(call: ApiRequest) -> Any:
    """Decide the open gate of a run."""
    return _run(await call.orchestrator.gate(call.path["id"], call.owner, call.body.decision, call.body.note))


async def dead_letters(call: ApiRequest) -> Any:
    """Runs that exhausted their attempts, with their context."""
    query: DeadQuery = call.query
    letters, cursor = await call.orchestrator.dead_letters(call.owner, query.cursor, query.limit)
    return {"dead_letters": letters, "next": cursor}


async def requeue(call: ApiRequest) -> Any:
    """Try a dead run again."""
    return _run(
        await call.orchestrator.requeue(
            call.path["id"], call.owner, call.body.from_task, code_allowed=call.code_allowed
        )
    )


async def discard(call: ApiRequest) -> Any:
    """Remove a dead run."""
    await call.orchestrator.discard(call.path["id"], call.owner)
    return JsonResponse(None, 204)


def _run(view: Any) -> dict[str, Any]:
    return {"run": stream.dump(view)}
