"""Schedules: pipelines that run by the clock."""

from __future__ import annotations

from po_jupyter.server.routing.pipelines import CallerRights
from po_jupyter.server.routing.request import ApiRequest, BodyT, JsonResponse, QueryT, body_fields
from po_jupyter.server.routing.shapes import EmptyBody, Query, ScheduleBody, SchedulePatch
from po_jupyter.server.sse.streams import run_json


async def list_schedules(request: ApiRequest[Query, None]) -> JsonResponse:
    """My schedules: when each is due next, and what became of its last slot."""
    return JsonResponse({"schedules": await request.orchestrator.schedules.summaries(owner=request.owner)})


async def add_schedule(request: ApiRequest[Query, ScheduleBody]) -> JsonResponse:
    """Have a registered pipeline run by the clock. A slot is one run, whatever dies."""
    added = await request.orchestrator.schedules.add(
        body_fields(request.body), owner=request.owner, rights=_rights(request)
    )
    return JsonResponse({"schedule": added}, 201)


async def get_schedule(request: ApiRequest[Query, None]) -> JsonResponse:
    """A schedule, with its seed and what became of its last slots."""
    found = await request.orchestrator.schedules.get(request.path["id"], owner=request.owner)
    return JsonResponse({"schedule": found})


async def put_schedule(request: ApiRequest[Query, ScheduleBody]) -> JsonResponse:
    """Change what a schedule is; what became of its slots stays."""
    changed = await request.orchestrator.schedules.replace(
        request.path["id"], body_fields(request.body), owner=request.owner, rights=_rights(request)
    )
    return JsonResponse({"schedule": changed})


async def patch_schedule(request: ApiRequest[Query, SchedulePatch]) -> JsonResponse:
    """Pause a schedule, let it go on, or change a part of it."""
    changed = await request.orchestrator.schedules.change(
        request.path["id"], body_fields(request.body), owner=request.owner, rights=_rights(request)
    )
    return JsonResponse({"schedule": changed})


async def delete_schedule(request: ApiRequest[Query, None]) -> JsonResponse:
    """Forget a schedule; its runs stay."""
    await request.orchestrator.schedules.remove(request.path["id"], owner=request.owner)
    return JsonResponse(None, 204)


async def run_schedule(request: ApiRequest[Query, EmptyBody]) -> JsonResponse:
    """Start a run of a schedule now, besides its slots."""
    run = await request.orchestrator.schedules.run(
        request.path["id"], owner=request.owner, rights=_rights(request)
    )
    view = await request.orchestrator.runs.get(run, request.owner, whole_seed=False)
    return JsonResponse({"run": run_json(view, brief=True)}, 201)


def _rights(request: ApiRequest[QueryT, BodyT]) -> CallerRights:
    """The rights of the caller, which the schedule has from now on."""
    token = request.token_id
    expires_at = None if token is None else request.extension.authenticator.tokens.expires_at(token)
    return {"code_allowed": request.code_allowed, "token": token, "expires_at": expires_at}
