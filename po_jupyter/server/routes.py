"""THE table of routes. The handler, the checks, openapi.json and the tests are all read from it.

A route names its method, path, scopes (each an action and a resource of Jupyter's authorizer, see
`auth.SCOPES`), the shapes of its query and body, and the action that calls the orchestrator.
"""

from __future__ import annotations

from functools import cache

from po_jupyter.model.values.json import JsonObject
from po_jupyter.server.actions import (
    editing,
    inspection,
    keys,
    maintenance,
    moves,
    pipelines,
    results,
    reviews,
    row_files,
    runs,
    schedules,
    scores,
    server,
    streams,
    tokens,
)
from po_jupyter.server.routing.move_shapes import HandoverBody, MoveBody, VisibleRuns
from po_jupyter.server.routing.request import EVENTS, LINES, METRICS, ApiRequest, JsonResponse
from po_jupyter.server.routing.reviews import ReviewBody, ReviewsQuery
from po_jupyter.server.routing.scoring import ScoreBody, ScoreRowsBody, ScoresQuery
from po_jupyter.server.routing.shapes import (
    AuditQuery,
    CallsQuery,
    CleanBody,
    CompareQuery,
    CursorBody,
    DeadQuery,
    DefinitionBody,
    DoctorQuery,
    EmptyBody,
    EstimateBody,
    EventsQuery,
    ExportQuery,
    ForkBody,
    GateBody,
    ItemsQuery,
    KeyBody,
    ListRuns,
    LogsQuery,
    ModelCallsQuery,
    ModelsQuery,
    OutputsQuery,
    ProvenanceQuery,
    Query,
    RequeueBody,
    RestartBody,
    ResumeBody,
    RowsQuery,
    RunQuery,
    ScheduleBody,
    SchedulePatch,
    SubmitBody,
    TokenBody,
    UsageQuery,
    ValidateBody,
    VariantsQuery,
)
from po_jupyter.server.routing.table import Route, Table

READ, WRITE, ADMIN = ("runs:read",), ("runs:write",), ("admin",)


async def openapi(request: ApiRequest[Query, None]) -> JsonResponse:
    """This table as OpenAPI 3.1."""
    return JsonResponse(_document())


@cache
def _document() -> JsonObject:
    from po_jupyter.server.openapi import document

    return document(TABLE)


# fmt: off
TABLE = Table(
    (
        Route("health", "GET", "health", READ, server.health, needs_orchestrator=False),
        Route("ready", "GET", "ready", READ, server.ready, needs_orchestrator=False),
        Route("openapi", "GET", "openapi.json", READ, openapi, needs_orchestrator=False),
        Route("meta", "GET", "meta", READ, server.meta),
        Route("waits", "GET", "waits", READ, server.waits),
        Route("metrics", "GET", "metrics", ("metrics",), server.metrics, media=METRICS),
        Route("models", "GET", "models", READ, server.models, query=ModelsQuery),
        Route("list_pipelines", "GET", "pipelines", READ, pipelines.list_pipelines),
        Route("validate", "POST", "pipelines/validate", READ, pipelines.validate, body=ValidateBody, changes=False),
        Route("pipeline_schema", "GET", "pipeline.schema.json", READ, editing.pipeline_schema,
              needs_orchestrator=False),
        Route("complete", "POST", "pipelines/complete", READ, editing.complete, body=CursorBody, changes=False),
        Route("describe", "POST", "pipelines/describe", READ, editing.describe, body=CursorBody, changes=False,
              needs_orchestrator=False),
        Route("get_pipeline", "GET", "pipelines/{name}", READ, pipelines.get_pipeline),
        Route("put_pipeline", "PUT", "pipelines/{name}", WRITE, pipelines.put_pipeline,
              body=DefinitionBody, success=201, asks_code=True),
        Route("delete_pipeline", "DELETE", "pipelines/{name}", WRITE, pipelines.delete_pipeline, success=204),
        Route("list_schedules", "GET", "schedules", READ, schedules.list_schedules),
        Route("add_schedule", "POST", "schedules", WRITE, schedules.add_schedule,
              body=ScheduleBody, success=201, asks_code=True),
        Route("get_schedule", "GET", "schedules/{id}", READ, schedules.get_schedule),
        Route("put_schedule", "PUT", "schedules/{id}", WRITE, schedules.put_schedule,
              body=ScheduleBody, asks_code=True),
        Route("patch_schedule", "PATCH", "schedules/{id}", WRITE, schedules.patch_schedule,
              body=SchedulePatch, asks_code=True),
        Route("delete_schedule", "DELETE", "schedules/{id}", WRITE, schedules.delete_schedule, success=204),
        Route("run_schedule", "POST", "schedules/{id}/run", WRITE, schedules.run_schedule,
              body=EmptyBody, success=201, asks_code=True),
        Route("get_blob", "GET", "blobs/{sha256}", READ, row_files.get_blob),
        Route("put_blob", "PUT", "blobs/{sha256}", WRITE, row_files.put_blob,
              success=201, receive=row_files.receive_blob),
        Route("submit", "POST", "runs", WRITE, runs.submit, body=SubmitBody, success=201, asks_code=True),
        Route("estimate", "POST", "runs/estimate", READ, runs.estimate, body=EstimateBody, asks_code=True),
        Route("list_runs", "GET", "runs", READ, runs.list_runs, query=ListRuns),
        Route("attention", "GET", "runs/attention", READ, runs.attention),
        Route("visible_runs", "GET", "runs/visible", READ, moves.visible, query=VisibleRuns),
        Route("export", "GET", "runs/export", READ, streams.export, query=ExportQuery, streams=True, media=LINES),
        Route("get_run", "GET", "runs/{id}", READ, runs.get_run, query=RunQuery),
        Route("delete_run", "DELETE", "runs/{id}", WRITE, runs.delete_run, success=204),
        Route("cancel", "POST", "runs/{id}/cancel", WRITE, runs.cancel, body=EmptyBody),
        Route("resume", "POST", "runs/{id}/resume", WRITE, runs.resume, body=ResumeBody, asks_code=True),
        Route("restart", "POST", "runs/{id}/restart", WRITE, runs.restart, body=RestartBody, asks_code=True),
        Route("fork", "POST", "runs/{id}/fork", WRITE, runs.fork, body=ForkBody, success=201, asks_code=True),
        Route("gate", "POST", "runs/{id}/gate", ("gates",), runs.gate, body=GateBody),
        Route("review", "POST", "runs/{id}/review", WRITE, reviews.review, body=ReviewBody, success=201),
        Route("reviews", "GET", "runs/{id}/reviews", READ, reviews.reviews, query=ReviewsQuery),
        Route("move", "POST", "runs/{id}/move", WRITE, moves.move, body=MoveBody),
        Route("check_handover", "POST", "handovers/check", WRITE, moves.check_handover,
              body=HandoverBody, changes=False),
        Route("put_handover", "PUT", "handovers/{sha256}", WRITE, moves.put_handover,
              success=201, receive=moves.receive_handover),
        Route("accept_handover", "POST", "handovers/{sha256}/accept", WRITE, moves.accept_handover, body=EmptyBody),
        Route("run_pipeline", "GET", "runs/{id}/pipeline", READ, results.pipeline),
        Route("outputs", "GET", "runs/{id}/outputs", READ, results.outputs, query=OutputsQuery),
        Route("display", "GET", "runs/{id}/display", READ, results.display),
        Route("artifacts", "GET", "runs/{id}/artifacts", READ, results.artifacts),
        Route("artifact", "GET", "runs/{id}/artifacts/{path}", READ, results.artifact,
              media="application/octet-stream"),
        Route("items", "GET", "runs/{id}/items", READ, results.items, query=ItemsQuery),
        Route("provenance", "GET", "runs/{id}/provenance", READ, inspection.provenance, query=ProvenanceQuery),
        Route("calls", "GET", "runs/{id}/calls", READ, results.calls, query=CallsQuery),
        Route("rows", "GET", "runs/{id}/tasks/{task}/rows", READ, inspection.rows, query=RowsQuery),
        Route("row", "GET", "runs/{id}/tasks/{task}/rows/{index}", READ, inspection.row),
        Route("row_expected", "GET", "runs/{id}/tasks/{task}/rows/{index}/expected", READ, inspection.row_expected),
        Route("compare", "GET", "runs/{id}/compare", READ, inspection.compare, query=CompareQuery),
        Route("variants", "GET", "runs/{id}/variants", READ, inspection.variants, query=VariantsQuery),
        Route("scores", "GET", "runs/{id}/scores", READ, scores.scores, query=ScoresQuery),
        Route("score", "POST", "runs/{id}/score", WRITE, scores.score, body=ScoreBody),
        Route("score_rows", "POST", "runs/{id}/score/rows", READ, scores.score_rows, body=ScoreRowsBody,
              changes=False),
        Route("model_calls", "GET", "runs/{id}/model-calls", READ, inspection.model_calls, query=ModelCallsQuery),
        Route("model_call", "GET", "runs/{id}/model-calls/{n}", READ, inspection.model_call),
        Route("timeline", "GET", "runs/{id}/timeline", READ, inspection.timeline),
        Route("spending", "GET", "runs/{id}/spending", READ, inspection.spending),
        Route("logs", "GET", "runs/{id}/logs", READ, results.logs, query=LogsQuery),
        Route("run_events", "GET", "runs/{id}/events", READ, streams.run_events,
              query=EventsQuery, streams=True, media=EVENTS),
        Route("all_events", "GET", "events", READ, streams.all_events, streams=True, media=EVENTS),
        Route("usage", "GET", "usage", READ, maintenance.usage, query=UsageQuery),
        Route("clean", "POST", "clean", WRITE, maintenance.clean, body=CleanBody),
        Route("list_keys", "GET", "keys", ADMIN, keys.list_keys),
        Route("set_key", "PUT", "keys/{provider}", ADMIN, keys.set_key, body=KeyBody),
        Route("remove_key", "DELETE", "keys/{provider}", ADMIN, keys.remove_key, success=204),
        Route("list_tokens", "GET", "tokens", ADMIN, tokens.list_tokens),
        Route("create_token", "POST", "tokens", ADMIN, tokens.create_token, body=TokenBody, success=201),
        Route("revoke_token", "DELETE", "tokens/{id}", ADMIN, tokens.revoke_token, success=204),
        Route("doctor", "GET", "doctor", ADMIN, server.doctor, query=DoctorQuery),
        Route("workers", "GET", "workers", ADMIN, server.workers),
        Route("drain_node", "POST", "workers/{node}/drain", ADMIN, server.drain_node, body=EmptyBody),
        Route("audit", "GET", "audit", ("admin",), maintenance.audit, query=AuditQuery, needs_orchestrator=False),
        Route("notifications", "GET", "notifications", ADMIN, maintenance.notifications),
        Route("dead_letters", "GET", "dead-letters", READ, runs.dead_letters, query=DeadQuery),
        Route("requeue", "POST", "dead-letters/{id}/requeue", WRITE, runs.requeue,
              body=RequeueBody, asks_code=True),
        Route("discard", "DELETE", "dead-letters/{id}", WRITE, runs.discard, success=204),
    )
)
# fmt: on
