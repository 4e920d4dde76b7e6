"""The server itself: whether it works, and what it can do."""

from __future__ import annotations

from po_jupyter.server.routing.request import METRICS, ApiRequest, JsonResponse, TextResponse
from po_jupyter.server.routing.shapes import DoctorQuery, EmptyBody, ModelsQuery, Query


async def health(request: ApiRequest[Query, None]) -> JsonResponse:
    """The server answers."""
    return JsonResponse({"status": "ok"})


async def ready(request: ApiRequest[Query, None]) -> JsonResponse:
    """Whether runs can be started; 503 when not."""
    state = await request.extension.host.readiness()
    return JsonResponse(state, 200 if state["ready"] else 503)


async def meta(request: ApiRequest[Query, None]) -> JsonResponse:
    """Version, user, orchestrator, limits, providers."""
    return JsonResponse({**request.orchestrator.meta(), "user": {"name": request.owner}})


async def waits(request: ApiRequest[Query, None]) -> JsonResponse:
    """What my runs wait for: `calls` for a rate limit, `store` for room on the disk, `queue` for a worker, at most 100
    of each; `others` is the number of runs of other people that wait, `rates` are the limits by provider or model."""
    return JsonResponse(await request.orchestrator.waits.report(request.owner))


async def models(request: ApiRequest[ModelsQuery, None]) -> JsonResponse:
    """Models that can be used now, with prices, and why not the others."""
    query = request.query
    listed = await request.orchestrator.environment.models(word=query.word, provider=query.provider)
    return JsonResponse({"models": listed})


async def doctor(request: ApiRequest[DoctorQuery, None]) -> JsonResponse:
    """What could keep runs from working where the orchestrator runs, each finding with what to do."""
    return JsonResponse({"findings": await request.orchestrator.doctor.examine(online=request.query.online)})


async def workers(request: ApiRequest[Query, None]) -> JsonResponse:
    """Servers of the store with their slots, and the queue by priority."""
    return JsonResponse(dict(await request.orchestrator.workers.report()))


async def drain_node(request: ApiRequest[Query, EmptyBody]) -> JsonResponse:
    """Have a node give its runs to others and take none, until it is started again."""
    await request.orchestrator.workers.drain(request.path["node"])
    return JsonResponse(dict(await request.orchestrator.workers.report()))


async def metrics(request: ApiRequest[Query, None]) -> TextResponse:
    """The metrics of this server and of the runs of its store, for Prometheus; of everybody's runs together."""
    return TextResponse(await request.orchestrator.monitoring.metrics(), METRICS)
