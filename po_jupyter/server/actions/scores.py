"""Scores of a run's tasks: those that it recorded, and recorded answers scored anew."""

from __future__ import annotations

from po_jupyter.model.run.scores import ScoreQuery
from po_jupyter.server.routing.request import ApiRequest, JsonResponse
from po_jupyter.server.routing.scoring import ScoreBody, ScoreRowsBody, ScoresQuery
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
    """Score the recorded answers of a map anew, of each of its variants. Metrics ask no model; a judge is a `run` of
    its own within the `budget`, and `left_out` says why rows are not in it. Asked again with that run as `judge_run`,
    once it has ended, the scores are those of the judge too."""
    body = request.body
    query = ScoreQuery(request.path["id"], request.owner, body.task, body.score, body.judge_run)
    scored = await request.orchestrator.scores.score(
        query, budget=body.budget, worst=body.worst, code_allowed=False
    )  # a judge has no code of anybody
    run = None if scored["run"] is None else run_json(scored["run"])
    return JsonResponse({"scores": {**scored["scores"]}, "run": run, "left_out": {**scored["left_out"]}})


async def score_rows(request: ApiRequest[Query, ScoreRowsBody]) -> JsonResponse:
    """The same of single rows: `{index, scores: {values, notes}}` of each with an answer. `next` is the `start` of the
    following ones. Nothing is asked of a model: judges have the scores of `judge_run`."""
    body = request.body
    query = ScoreQuery(request.path["id"], request.owner, body.task, body.score, body.judge_run)
    rows, following = await request.orchestrator.scores.rows(query, start=body.start, limit=body.limit)
    return JsonResponse({"rows": [{**row} for row in rows], "next": following})
