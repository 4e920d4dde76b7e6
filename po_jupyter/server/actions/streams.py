"""Answers that go on: events as they come, and runs as lines."""

from __future__ import annotations

import re
from typing import Any

from po_jupyter.errors import InvalidInput
from po_jupyter.server.routing.request import LINES, ApiRequest, StreamResponse
from po_jupyter.server.routing.shapes import ExportQuery
from po_jupyter.server.sse import streams as stream


async def run_events(call: ApiRequest) -> Any:
    """The events of a run: a stream (SSE), or one page in JSON when only that is accepted."""
    since = call.query.since
    view = await call.orchestrator.get(call.path["id"], call.owner, whole_seed=False)
    if "application/json" in call.accept and "text/event-stream" not in call.accept:
        found = await call.orchestrator.events(view.id, call.owner, since, call.query.limit)
        return {"events": found}
    if call.last_event_id is not None:  # a browser that comes back knows better than its first URL
        if not re.fullmatch(r"\d{1,15}", call.last_event_id.strip()):
            raise InvalidInput(f"Last-Event-ID is an offset, not {call.last_event_id[:40]!r}")
        since = int(call.last_event_id)
    return StreamResponse(stream.run_events(call.orchestrator, view, call.owner, since))


async def all_events(call: ApiRequest) -> Any:
    """All my runs, live (SSE)."""
    return StreamResponse(stream.all_runs(call.orchestrator, call.owner))


async def export(call: ApiRequest) -> Any:
    """Ended runs, the newest first, as lines of JSON (ndjson)."""
    query: ExportQuery = call.query
    return StreamResponse(
        stream.ended_runs(call.orchestrator, call.owner, query.state, query.pipeline), media=LINES
    )
