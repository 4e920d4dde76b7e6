"""Help for editors: the schema of a pipeline, what may stand at the cursor, what a key means."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from po_jupyter.model.editing.completion import CursorContext, help_at
from po_jupyter.model.editing.schema import pipeline_schema as schema
from po_jupyter.server.routing.request import ApiRequest, JsonResponse
from po_jupyter.server.routing.shapes import CursorBody, Query

_LARGEST_SEED = 2_000_000  # bytes of a seed whose fields are looked up


async def pipeline_schema(request: ApiRequest[Query, None]) -> JsonResponse:
    """The JSON Schema of a pipeline's YAML."""
    return JsonResponse(schema())


async def complete(request: ApiRequest[Query, CursorBody]) -> JsonResponse:
    """What may stand at the cursor: `typed` is the text before it that a suggestion replaces. Names of fields come from
    the seed of the newest run of the pipeline, if it is among the newest runs."""
    body = request.body
    context = await asyncio.to_thread(CursorContext.of, body.before + body.after, len(body.before))
    models: list[str] = []
    if context.needs_models:
        listed = await request.orchestrator.environment.models()
        models = [str(model["ref"]) for model in listed if model["usable"]]
    seed = await _newest_seed(request, context) if context.needs_seed else None
    suggestions = await asyncio.to_thread(context.suggestions, models, seed)
    start = len(body.before) if context.start is None else context.start
    return JsonResponse({
        "typed": body.before[start:],
        "suggestions": [suggestion._asdict() for suggestion in suggestions],
    })  # fmt: skip


async def _newest_seed(
    request: ApiRequest[Query, CursorBody], context: CursorContext
) -> Mapping[str, object] | None:
    name = request.body.name or context.outline.values.get(("name",))
    if name is None:
        return None
    view = await request.orchestrator.runs.recent(name, request.owner)
    if view is None:
        return None
    seed = view.seed
    if "data" not in seed and seed.get("data_bytes", 0) <= _LARGEST_SEED:
        seed = (await request.orchestrator.runs.get(view.id, request.owner)).seed
    data = seed.get("data")
    return data if isinstance(data, Mapping) else None


async def describe(request: ApiRequest[Query, CursorBody]) -> JsonResponse:
    """What the key below the cursor means: `help` is null, or has `before` and `after`: its characters
    on both sides."""
    body = request.body
    offset = len(body.before)
    found = await asyncio.to_thread(help_at, body.before + body.after, offset)
    if found is None:
        return JsonResponse({"help": None})
    return JsonResponse({
        "help": {
            "before": offset - found.start, "after": found.end - offset,
            "title": found.title, "documentation": found.documentation,
        }
    })  # fmt: skip
