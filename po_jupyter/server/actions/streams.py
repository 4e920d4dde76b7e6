"""Responses that go on: events as they come, and runs as lines."""

from __future__ import annotations

from po_jupyter.errors import InvalidInput
from po_jupyter.model.values.whole_numbers import whole_number
from po_jupyter.server.routing.request import LINES, ApiRequest, JsonResponse, StreamResponse
from po_jupyter.server.routing.shapes import EventsQuery, ExportQuery, Query
from po_jupyter.server.sse import streams


async def run_events(request: ApiRequest[EventsQuery, None]) -> JsonResponse | StreamResponse:
    """The events of a run: a stream (SSE), or one page in JSON when only that is accepted."""
    since = request.query.since
    runs = request.orchestrator.runs
    view = await runs.get(request.path["id"], request.owner, whole_seed=False)
    if "application/json" in request.accept and "text/event-stream" not in request.accept:
        events = await runs.events(view.id, request.owner, since, request.query.limit)
        return JsonResponse({"events": events})
    if request.last_event_id is not None:  # a browser that comes back knows better than its first URL
        offset = whole_number(request.last_event_id.strip())
        if offset is None:
            raise InvalidInput(f"Last-Event-ID is an offset, not {request.last_event_id[:40]!r}")
        since = offset
    return StreamResponse(streams.run_events(request.orchestrator, view, request.owner, since))


async def all_events(request: ApiRequest[Query, None]) -> StreamResponse:
    """All my runs, live (SSE)."""
    return StreamResponse(streams.all_runs(request.orchestrator, request.owner))


async def export(request: ApiRequest[ExportQuery, None]) -> StreamResponse:
    """Ended runs, the newest first, as lines of JSON (ndjson)."""
    query = request.query
    lines = streams.ended_runs(request.orchestrator, request.owner, query.state, query.pipeline)
    return StreamResponse(lines, media=LINES)
