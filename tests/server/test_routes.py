"""The table of routes: names that auditors grep and programs call, and actions that fit their routes."""

from __future__ import annotations

import inspect
import typing

import pytest

from po_jupyter.server import openapi
from po_jupyter.server.routes import TABLE
from po_jupyter.server.routing.request import ApiRequest
from po_jupyter.server.routing.table import AnyRoute

# Public: lines of the audit log and clients made from openapi.json have them. A new route adds one; none changes.
NAMES = {
    "GET health": "health",
    "GET ready": "ready",
    "GET openapi.json": "openapi",
    "GET metrics": "metrics",
    "GET meta": "meta",
    "GET waits": "waits",
    "GET models": "models",
    "GET pipelines": "list_pipelines",
    "POST pipelines/validate": "validate",
    "GET pipeline.schema.json": "pipeline_schema",
    "POST pipelines/complete": "complete",
    "POST pipelines/describe": "describe",
    "GET pipelines/{name}": "get_pipeline",
    "PUT pipelines/{name}": "put_pipeline",
    "DELETE pipelines/{name}": "delete_pipeline",
    "GET schedules": "list_schedules",
    "POST schedules": "add_schedule",
    "GET schedules/{id}": "get_schedule",
    "PUT schedules/{id}": "put_schedule",
    "PATCH schedules/{id}": "patch_schedule",
    "DELETE schedules/{id}": "delete_schedule",
    "POST schedules/{id}/run": "run_schedule",
    "GET blobs/{sha256}": "get_blob",
    "PUT blobs/{sha256}": "put_blob",
    "POST runs": "submit",
    "POST runs/estimate": "estimate",
    "GET runs": "list_runs",
    "GET runs/visible": "visible_runs",
    "POST runs/{id}/move": "move",
    "POST handovers/check": "check_handover",
    "PUT handovers/{sha256}": "put_handover",
    "POST handovers/{sha256}/accept": "accept_handover",
    "GET runs/attention": "attention",
    "GET runs/export": "export",
    "GET runs/{id}": "get_run",
    "DELETE runs/{id}": "delete_run",
    "POST runs/{id}/cancel": "cancel",
    "POST runs/{id}/resume": "resume",
    "POST runs/{id}/restart": "restart",
    "POST runs/{id}/fork": "fork",
    "POST runs/{id}/gate": "gate",
    "POST runs/{id}/review": "review",
    "GET runs/{id}/reviews": "reviews",
    "GET runs/{id}/pipeline": "run_pipeline",
    "GET runs/{id}/outputs": "outputs",
    "GET runs/{id}/display": "display",
    "GET runs/{id}/artifacts": "artifacts",
    "GET runs/{id}/artifacts/{path}": "artifact",
    "GET runs/{id}/items": "items",
    "GET runs/{id}/calls": "calls",
    "GET runs/{id}/tasks/{task}/rows": "rows",
    "GET runs/{id}/tasks/{task}/rows/{index}": "row",
    "GET runs/{id}/compare": "compare",
    "GET runs/{id}/scores": "scores",
    "GET runs/{id}/tasks/{task}/rows/{index}/expected": "row_expected",
    "GET runs/{id}/variants": "variants",
    "POST runs/{id}/score": "score",
    "POST runs/{id}/score/rows": "score_rows",
    "GET runs/{id}/model-calls": "model_calls",
    "GET runs/{id}/model-calls/{n}": "model_call",
    "GET runs/{id}/timeline": "timeline",
    "GET runs/{id}/spending": "spending",
    "GET runs/{id}/logs": "logs",
    "GET runs/{id}/events": "run_events",
    "GET events": "all_events",
    "GET usage": "usage",
    "POST clean": "clean",
    "GET keys": "list_keys",
    "PUT keys/{provider}": "set_key",
    "DELETE keys/{provider}": "remove_key",
    "GET tokens": "list_tokens",
    "POST tokens": "create_token",
    "DELETE tokens/{id}": "revoke_token",
    "GET doctor": "doctor",
    "GET workers": "workers",
    "POST workers/{node}/drain": "drain_node",
    "GET audit": "audit",
    "GET runs/{id}/provenance": "provenance",
    "GET notifications": "notifications",
    "GET dead-letters": "dead_letters",
    "POST dead-letters/{id}/requeue": "requeue",
    "DELETE dead-letters/{id}": "discard",
}


def test_names_of_routes_are_public_and_stay() -> None:
    """B15: what auditors look for, and what generated clients call."""
    assert {f"{route.method} {route.path}": route.name for route in TABLE.routes} == NAMES
    assert len(set(NAMES.values())) == len(NAMES)


def test_the_names_are_the_operations_of_openapi() -> None:
    paths = openapi.document(TABLE)["paths"].values()
    assert {operation["operationId"] for path in paths for operation in path.values()} == set(NAMES.values())


@pytest.mark.parametrize("route", TABLE.routes, ids=lambda route: route.name)
def test_an_action_takes_what_its_route_checks(route: AnyRoute) -> None:
    """mypy cannot see a route that forgets the query of its action."""
    parameter = next(iter(inspect.signature(route.action).parameters.values()))
    request = eval(parameter.annotation, {**vars(inspect.getmodule(route.action)), "ApiRequest": ApiRequest})
    assert typing.get_args(request) == (route.query, type(None) if route.body is None else route.body)
