"""JSON Schemas for people: the schema of values that are there, and a schema in a line.

{text: text, score?: number, tags: [text], label: "bug" | "praise"}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from po_jupyter.model.values.json import JsonObject, JsonValue
from po_jupyter.model.values.lazy_list import LazyList

_ROWS = 100  # of a list that are looked at, spread over it
_FIELDS = 100  # of an object that are looked at
_DEEPEST = 6
_SHOWN_FIELDS, _SHOWN_VALUES = 12, 4
_SHOWN_DEPTH = 3
_FORMS = 8  # of a choice, or of the types of one value, that are gone into
_NESTED = 6  # choices and references in one another
_LONGEST = 400  # characters of a line
_NAMES = {"string": "text", "boolean": "true/false", "array": "list"}


def schema_of(value: object) -> JsonObject:
    """The JSON Schema that a value fits, deduced from it: of a long list from rows that are spread over it."""
    from genson import SchemaBuilder

    builder = SchemaBuilder(schema_uri=None)
    builder.add_object(_sample(value, 0))
    schema: JsonObject = builder.to_schema()
    return schema


def _sample(value: object, depth: int) -> object:
    """The part of a value that its schema is deduced from: without the texts, few of its rows."""
    if isinstance(value, Mapping):
        if depth >= _DEEPEST:
            return {}
        return {str(key): _sample(inner, depth + 1) for key, inner in list(value.items())[:_FIELDS]}
    if isinstance(value, list | tuple | LazyList):
        if depth >= _DEEPEST:
            return []
        step = -(-len(value) // _ROWS) or 1
        return [_sample(value[at], depth + 1) for at in range(0, len(value), step)]
    return "" if isinstance(value, str) else value


def schema_line(schema: JsonValue) -> str:
    """A JSON Schema in a line of at most 400 characters; "any" for one that says nothing."""
    root = schema if isinstance(schema, Mapping) else {}
    line = _line(schema, root, 0)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _line(schema: Any, root: Mapping[str, Any], depth: int, nested: int = 0) -> str:
    """`depth` counts objects and lists around it, `nested` also choices and references, which may go in circles."""
    if not isinstance(schema, Mapping):
        return "any"
    if "const" in schema:
        return _value(schema["const"])
    if isinstance(values := schema.get("enum"), Sequence) and not isinstance(values, str):
        return (
            " | ".join(_cut([_value(value) for value in values[: _SHOWN_VALUES + 1]], _SHOWN_VALUES)) or "any"
        )
    if isinstance(reference := schema.get("$ref"), str):
        definitions = root.get("$defs")
        found = definitions.get(reference.rpartition("/")[2]) if isinstance(definitions, Mapping) else None
        return _line(found, root, depth + 1, nested + 1) if _goes_on(depth, nested) else "…"
    for key in ("anyOf", "oneOf"):
        if isinstance(forms := schema.get(key), Sequence) and not isinstance(forms, str):
            if not _goes_on(depth, nested):
                return "…"
            lines = [_line(form, root, depth, nested + 1) for form in forms[: _FORMS + 1]]
            return " | ".join(dict.fromkeys(_cut(lines, _FORMS))) or "any"
    kinds = _cut([_of_type(kind, schema, root, depth, nested) for kind in _types(schema)], _FORMS)
    return " | ".join(dict.fromkeys(kinds))


def _goes_on(depth: int, nested: int) -> bool:
    return depth <= _SHOWN_DEPTH and nested < _NESTED


def _types(schema: Mapping[str, Any]) -> list[str]:
    kind = schema.get("type")
    if isinstance(kind, str):
        return [kind]
    if isinstance(kind, Sequence) and kind:
        return list(dict.fromkeys(str(each)[:_LONGEST] for each in kind[:100]))[: _FORMS + 1]
    return ["object" if "properties" in schema else "array" if "items" in schema else "any"]


def _of_type(kind: str, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int, nested: int) -> str:
    fields = schema.get("properties")
    if kind == "object" and isinstance(fields, Mapping) and fields:
        if depth >= _SHOWN_DEPTH:
            return "{…}"
        listed = schema.get("required")
        required = listed if isinstance(listed, list | tuple) else ()
        parts = (
            f"{name}{'' if name in required else '?'}: {_line(field, root, depth + 1, nested)}"
            for name, field in list(fields.items())[: _SHOWN_FIELDS + 1]
        )
        return "{" + ", ".join(_cut(list(parts), _SHOWN_FIELDS)) + "}"
    if kind == "array" and isinstance(items := schema.get("items"), Mapping) and items:
        return "[…]" if depth >= _SHOWN_DEPTH else f"[{_line(items, root, depth + 1, nested)}]"
    return _NAMES.get(kind, kind)


def _cut(parts: list[str], most: int) -> list[str]:
    return parts if len(parts) <= most else [*parts[:most], "…"]


def _value(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "…"
    return text if len(text) <= 40 else text[:39] + "…"
