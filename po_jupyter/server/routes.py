"""THE table of routes. The handler, the checks, openapi.json and the tests are all read from it.

A route names its method, path, scopes (each an action and a resource of Jupyter's authorizer, see
`auth.SCOPES`), the shapes of its query and body, and the action that calls the orchestrator.
"""

from __future__ import annotations

from typing import Any

from po_jupyter.server.actions import keys, pipelines, results, runs, streams
from po_jupyter.server.actions import maintenance as housekeeping
from po_jupyter.server.actions import row_files as blobs
from po_jupyter.server.actions import server as about
from po_jupyter.server.routing.request import EVENTS, LINES, ApiRequest
from po_jupyter.server.routing.shapes import (
    AuditQuery,
    CallsQuery,
    CleanBody,
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
    ModelsQuery,
    OutputsQuery,
    RequeueBody,
    RestartBody,
    ResumeBody,
    SubmitBody,
    UsageQuery,
    ValidateBody,
)
from po_jupyter.server.routing.table import Route, Table

READ, WRITE, ADMIN = ("runs:read",), ("runs:write",), ("admin",)


async def openapi(call: ApiRequest) -> Any:
    """This table as OpenAPI 3.1."""
    from po_jupyter.server.openapi import document

    return document(TABLE)


TABLE = Table(
    (
        Route("GET", "health", READ, about.health, needs_orchestrator=False),
        Route("GET", "ready", READ, about.ready, needs_orchestrator=False),
        Route("GET", "openapi.json", READ, openapi, needs_orchestrator=False),
        Route("GET", "meta", READ, about.meta),
        Route("GET", "models", READ, about.models, query=ModelsQuery),
        Route("GET", "pipelines", READ, pipelines.list_pipelines),
        Route("POST", "pipelines/validate", READ, pipelines.validate, body=ValidateBody, changes=False),
        Route("GET", "pipelines/{name}", READ, pipelines.get_pipeline),
        Route("PUT", "pipelines/{name}", WRITE, pipelines.put_pipeline, body=DefinitionBody, success=201),
        Route("DELETE", "pipelines/{name}", WRITE, pipelines.delete_pipeline, success=204),
        Route("GET", "blobs/{sha256}", READ, blobs.get_blob),
        Route("PUT", "blobs/{sha256}", WRITE, blobs.put_blob, success=201, receive=blobs.receive_blob),
        Route("POST", "runs", WRITE, runs.submit, body=SubmitBody, success=201, asks_code=True),
        Route("POST", "runs/estimate", READ, runs.estimate, body=EstimateBody, asks_code=True),
        Route("GET", "runs", READ, runs.list_runs, query=ListRuns),
        Route("GET", "runs/export", READ, streams.export, query=ExportQuery, streams=True, media=LINES),
        Route("GET", "runs/{id}", READ, runs.get_run),
        Route("DELETE", "runs/{id}", WRITE, runs.delete_run, success=204),
        Route("POST", "runs/{id}/cancel", WRITE, runs.cancel, body=EmptyBody),
        Route("POST", "runs/{id}/resume", WRITE, runs.resume, body=ResumeBody, asks_code=True),
        Route("POST", "runs/{id}/restart", WRITE, runs.restart, body=RestartBody, asks_code=True),
        Route("POST", "runs/{id}/fork", WRITE, runs.fork, body=ForkBody, success=201, asks_code=True),
        Route("POST", "runs/{id}/gate", ("gates",), runs.gate, body=GateBody),
        Route("GET", "runs/{id}/outputs", READ, results.outputs, query=OutputsQuery),
        Route("GET", "runs/{id}/artifacts", READ, results.artifacts),
        Route("GET", "runs/{id}/artifacts/{path}", READ, results.artifact, media="application/octet-stream"),
        Route("GET", "runs/{id}/items", READ, results.items, query=ItemsQuery),
        Route("GET", "runs/{id}/calls", READ, results.calls, query=CallsQuery),
        Route("GET", "runs/{id}/logs", READ, results.logs, query=LogsQuery),
        Route(
            "GET", "runs/{id}/events", READ, streams.run_events, query=EventsQuery, streams=True, media=EVENTS
        ),
        Route("GET", "events", READ, streams.all_events, streams=True, media=EVENTS),
        Route("GET", "usage", READ, housekeeping.usage, query=UsageQuery),
        Route("POST", "clean", WRITE, housekeeping.clean, body=CleanBody),
        Route("GET", "keys", ADMIN, keys.list_keys),
        Route("PUT", "keys/{provider}", ADMIN, keys.set_key, body=KeyBody),
        Route("DELETE", "keys/{provider}", ADMIN, keys.remove_key, success=204),
        Route("GET", "doctor", ADMIN, about.doctor, query=DoctorQuery),
        Route("GET", "audit", ("admin",), housekeeping.audit, query=AuditQuery, needs_orchestrator=False),
        Route("GET", "dead-letters", READ, runs.dead_letters, query=DeadQuery),
        Route("POST", "dead-letters/{id}/requeue", WRITE, runs.requeue, body=RequeueBody, asks_code=True),
        Route("DELETE", "dead-letters/{id}", WRITE, runs.discard, success=204),
    )
)
