"""Runs that are moved to the service of shared runs: here away, there in."""

from __future__ import annotations

from collections.abc import Mapping

from po_jupyter.model.values.json import JsonObject
from po_jupyter.server.routing.api import OrchestratorApi, UploadApi
from po_jupyter.server.routing.move_shapes import HandoverBody, MoveBody, VisibleRuns
from po_jupyter.server.routing.request import ApiRequest, JsonResponse
from po_jupyter.server.routing.shapes import EmptyBody, Query
from po_jupyter.server.sse.streams import run_json

_SCOPES = ("runs:read", "runs:write", "gates")


async def visible(request: ApiRequest[VisibleRuns, None]) -> JsonResponse:
    """My runs and those of my groups, the newest first, each with what I `may` do (scopes)."""
    own = [scope for scope in _SCOPES if await request.may(scope)]
    of = {request.owner: own} | {f"group:{name}": sorted(may) for name, may in request.groups.items()}
    found: list[JsonObject] = []
    for owner, may in of.items():
        if "runs:read" in may:
            views, _ = await request.orchestrator.runs.page(
                owner, request.query.state, limit=request.query.limit
            )
            found += [{**run_json(view, brief=True), "may": may} for view in views]
    found.sort(key=lambda run: (str(run["created_at"]), str(run["id"])), reverse=True)
    return JsonResponse({"runs": found[: request.query.limit], "user": request.owner})


async def move(request: ApiRequest[Query, MoveBody]) -> JsonResponse:
    """Hand a run over to the service of shared runs. Ask again until it says `moved` and `accepted`."""
    view = await request.orchestrator.handovers.move(
        request.path["id"], request.owner, request.body.to, request.body.group
    )
    return JsonResponse({"run": run_json(view)})


async def check_handover(request: ApiRequest[Query, HandoverBody]) -> JsonResponse:
    """Whether a run would be taken: no code, models that its owner may ask."""
    await request.orchestrator.receptions.check(request.body.model_dump(), request.owner)
    return JsonResponse({"ok": True})


async def receive_handover(orchestrator: OrchestratorApi, owner: str, path: Mapping[str, str]) -> UploadApi:
    """Begin to receive the bytes of PUT handovers."""
    return await orchestrator.receptions.receive(path["sha256"], owner)


async def put_handover(request: ApiRequest[Query, None]) -> JsonResponse:
    """Keep the file of a run under its SHA-256, for a day, until it is accepted."""
    assert request.upload is not None, "the route has `receive`"
    return JsonResponse({"handover": await request.upload.finish()}, 201)


async def accept_handover(request: ApiRequest[Query, EmptyBody]) -> JsonResponse:
    """Have a run worked off whose file was received; accepted again it is the same run."""
    view = await request.orchestrator.receptions.accept(
        request.path["sha256"], request.owner, may_decide=await request.may("gates")
    )
    return JsonResponse({"run": run_json(view)})
