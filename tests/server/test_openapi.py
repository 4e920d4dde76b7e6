"""The route table as an OpenAPI document: what a generated client relies on."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from po_jupyter import __version__
from po_jupyter.server import openapi
from po_jupyter.server.routes import TABLE
from po_jupyter.server.routing.table import PREFIX, AnyRoute

DOCUMENT = openapi.document(TABLE)


def operation(route: AnyRoute) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][f"/{PREFIX}/{route.path}"][route.method.lower()]
    return found


def test_every_reference_leads_somewhere() -> None:
    """A generator stops at the first that does not."""
    references = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(DOCUMENT)))
    assert {"Error", "Run"} <= references | DOCUMENT["components"]["schemas"].keys()
    assert references <= DOCUMENT["components"]["schemas"].keys()
    assert "$defs" not in json.dumps(DOCUMENT)
    assert DOCUMENT["info"]["version"] == __version__


@pytest.mark.parametrize("route", TABLE.routes, ids=lambda route: route.name)
def test_a_route_has_its_parameters_body_and_answers(route: AnyRoute) -> None:
    found = operation(route)
    in_path = {p["name"] for p in found["parameters"] if p["in"] == "path"}
    assert in_path == set(re.findall(r"\{(\w+)\}", route.path))
    assert all(p["required"] for p in found["parameters"] if p["in"] == "path")
    in_query = {p["name"] for p in found["parameters"] if p["in"] == "query"}
    assert in_query == {field.alias or name for name, field in route.query.model_fields.items()}
    body = found.get("requestBody", {}).get("content", {})
    assert ("application/json" in body) == (route.body is not None)
    assert ("application/x-ndjson" in body) == (route.receive is not None)
    success = found["responses"][str(route.success)]
    assert ("content" in success) == (route.success != 204)
    if route.streams:
        assert success["content"][route.media]["schema"] == {"type": "string"}
    refused = found["responses"]["401"]["content"]["application/json"]["schema"]
    assert refused["$ref"].endswith("/Error")
    assert found["x-scopes"] == list(route.scopes)


def test_a_body_is_described_by_its_fields() -> None:
    (submit,) = [route for route in TABLE.routes if route.name == "submit"]
    reference = operation(submit)["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]
    assert {"pipeline", "seed", "idempotency_key", "budget"} <= schema["properties"].keys()
