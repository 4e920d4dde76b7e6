"""Scores of a run's tasks: those that it recorded, and recorded answers scored anew."""

from __future__ import annotations

from po_jupyter.server.routing.request import ApiRequest, JsonResponse
from po_jupyter.server.routing.scoring import ScoreBody, ScoresQuery
from po_jupyter.server.routing.shapes import Query
from po_jupyter.server.sse.streams import run_json


async def scores(request: ApiRequest[ScoresQuery, None]) -> JsonResponse:
    """The scores that a run recorded of a task: means with their intervals, confusion matrices, the worst rows."""
    query = request.query
    found = await request.orchestrator.scores.recorded(
        request.path["id"], request.owner, query.task, query.worst
    )
    return JsonResponse({"scores": {**found}})


async def score(request: ApiRequest[Query, ScoreBody]) -> JsonResponse:
    """Score the recorded answers of a map anew. Metrics ask no model; a judge is a `run` of its own within the
    `budget`, whose scores are those of its tasks, and `left_out` says why rows are not in it."""
    body = request.body
    scored = await request.orchestrator.scores.score(
        request.path["id"], request.owner, body.task, body.score,
        budget=body.budget, worst=body.worst, code_allowed=False,  # a judge has no code of anybody
    )  # fmt: skip
    run = None if scored["run"] is None else run_json(scored["run"])
    return JsonResponse({"scores": {**scored["scores"]}, "run": run, "left_out": {**scored["left_out"]}})
