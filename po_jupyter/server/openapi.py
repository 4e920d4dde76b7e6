"""The route table as an OpenAPI 3.1 document."""

from __future__ import annotations

import re

from po_jupyter import __version__
from po_jupyter.model.run.view import RunView
from po_jupyter.model.values.json import JsonObject
from po_jupyter.server.routing.request import EVENTS, LINES
from po_jupyter.server.routing.table import PREFIX, AnyRoute, Table

_MEANINGS = {
    400: "What was sent cannot be used; `details.violations` has everything that is wrong",
    401: "No credentials came",
    403: "The credentials are wrong, or do not allow this",
    404: "There is no such thing, or it is somebody else's",
    409: "Not in this state, or the name means several",
    413: "The body is larger than is taken",
    429: "Too many requests, or too many wrong tokens; `Retry-After` says how long to wait",
    503: "Not now; `Retry-After`, where it comes, says how long to wait",
    507: "The data directory cannot be used, or a row in it cannot be read",
}
_REF = "#/components/schemas/{model}"


def document(table: Table) -> JsonObject:
    """The document: a path for each of the table's, their queries and bodies, and the one shape of errors."""
    schemas: JsonObject = {
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {
                    "type": "object",
                    "required": ["code", "message", "hint", "details"],
                    "properties": {
                        "code": {"type": "string"},
                        "message": {"type": "string"},
                        "hint": {"type": "string"},
                        "details": {"type": "object"},
                    },
                }
            },
        }
    }
    _add(schemas, "Run", RunView.model_json_schema(ref_template=_REF, mode="serialization"))
    paths: JsonObject = {}
    for route in table.routes:
        paths.setdefault(f"/{PREFIX}/{route.path}", {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "po_jupyter", "version": __version__},
        "paths": paths,
        "security": [{"token": []}, {"bearer": []}],
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "query", "name": "token"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operation(route: AnyRoute, schemas: JsonObject) -> JsonObject:
    parameters: list[JsonObject] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    query = route.query.model_json_schema(ref_template=_REF)
    for name, schema in query.get("properties", {}).items():
        required = name in query.get("required", [])
        parameters.append({"name": name, "in": "query", "required": required, "schema": schema})
    operation: JsonObject = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": parameters,
        "responses": _responses(route),
        "x-scopes": list(route.scopes),
    }
    if route.receive is not None:
        lines: JsonObject = {"schema": {"type": "string", "description": "A line of JSON for each row"}}
        content = {
            LINES: lines,
            "application/octet-stream": lines,
        }  # the bytes are taken whatever they are called
        operation["requestBody"] = {"required": True, "content": content}
    if route.body is not None:
        name = route.body.__name__
        _add(schemas, name, route.body.model_json_schema(ref_template=_REF))
        content = {"application/json": {"schema": {"$ref": _REF.format(model=name)}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _responses(route: AnyRoute) -> JsonObject:
    """Every status that the route may have, and what comes with it."""
    plain = route.streams or route.media != "application/json"
    success: JsonObject = {"description": route.summary}
    if route.success != 204:
        media = [route.media, *(["application/json"] if route.streams and route.media == EVENTS else [])]
        success["content"] = {one: {"schema": {"type": "string" if plain else "object"}} for one in media}
    error = {"application/json": {"schema": {"$ref": _REF.format(model="Error")}}}
    responses: JsonObject = {str(route.success): success}
    if route.success == 201:
        responses["200"] = {**success, "description": "It is there already"}
    for status in _errors(route):
        responses[str(status)] = {"description": _MEANINGS[status], "content": error}
    if route.name == "ready":
        responses["503"] = {**success, "description": "No, and why"}
    return responses


def _errors(route: AnyRoute) -> list[int]:
    """The statuses of the errors that the route may answer with; 500, a fault of ours, is none of them."""
    errors = {400, 401, 403, 429, 503}
    if "{" in route.path or route.needs_orchestrator:
        errors |= {404}  # what the path or the body names
    if "{id}" in route.path or route.method != "GET":
        errors |= {409}  # several runs end so; not in this state
    if route.body is not None or route.receive is not None:
        errors |= {413}
    if route.needs_orchestrator or route.name in ("audit", "create_token", "revoke_token"):
        errors |= {507}
    return sorted(errors)


def _add(schemas: JsonObject, name: str, schema: JsonObject) -> None:
    schemas.update(schema.pop("$defs", {}))
    schemas[name] = schema
