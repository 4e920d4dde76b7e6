"""The route table as an OpenAPI 3.1 document."""

from __future__ import annotations

import re

from po_jupyter import __version__
from po_jupyter.model.run.view import RunView
from po_jupyter.model.values.json import JsonObject
from po_jupyter.server.routing.table import PREFIX, AnyRoute, Table

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
    plain = route.streams or route.media != "application/json"
    success: JsonObject = {"description": route.summary}
    if route.success != 204:
        success["content"] = {route.media: {"schema": {"type": "string" if plain else "object"}}}
    error = {"application/json": {"schema": {"$ref": _REF.format(model="Error")}}}
    operation: JsonObject = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            str(route.success): success,
            "default": {"description": "What is wrong, and what to do", "content": error},
        },
        "x-scopes": list(route.scopes),
    }
    if route.receive is not None:
        operation["requestBody"] = {"required": True, "content": {"application/x-ndjson": {}}}
    if route.body is not None:
        name = route.body.__name__
        _add(schemas, name, route.body.model_json_schema(ref_template=_REF))
        content = {"application/json": {"schema": {"$ref": _REF.format(model=name)}}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _add(schemas: JsonObject, name: str, schema: JsonObject) -> None:
    schemas.update(schema.pop("$defs", {}))
    schemas[name] = schema
