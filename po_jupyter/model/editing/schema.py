"""The JSON Schema of a pipeline as it is written, with the short forms that the parser takes (`needs: extract`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from po_jupyter.model.editing.outline import Path
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.values.json import JsonObject

_TEXT = {"type": "string"}
_ANSWER = {"$ref": "#/$defs/AnswerSchema"}
# Fields of a definition that a text may stand for, besides what their model has: `needs: extract`.
_SHORT_FORMS: dict[str, dict[str, tuple[JsonObject, ...]]] = {
    "Pipeline": {"llm": (_TEXT,)},
    "Task": {
        "votes": ({"type": "integer", "minimum": 2, "maximum": 100},),
        "score": (_TEXT,),
        "llm": (_TEXT,),
        "needs": (_TEXT,),
        "images": (_TEXT,),
        "files": (_TEXT,),
        "tools": (_TEXT,),
        "gate": (_TEXT, {"type": "boolean"}),
    },
    "LLM": {"stop": (_TEXT,)},
    "Scorer": {"metrics": (_TEXT,), "llm": (_TEXT,)},
}
_KINDS = ["object", "array", "string", "number", "integer", "boolean", "null"]
_ANSWER_FIELDS: JsonObject = {
    "type": {
        "description": "What the value is.",
        "anyOf": [{"enum": _KINDS}, {"type": "array", "items": {"enum": _KINDS}}],
    },
    "properties": {
        "description": "The fields of an object, each with its schema.",
        "type": "object",
        "additionalProperties": _ANSWER,
    },
    "required": {
        "description": "Fields that must be there.",
        "type": "array",
        "items": {"type": "string"},
    },
    "additionalProperties": {
        "description": "Whether, or with which schema, other fields may be there.",
        **_ANSWER,
    },
    "items": {"description": "The schema of each element of an array.", **_ANSWER},
    "enum": {"description": "The values that are allowed.", "type": "array"},
    "const": {"description": "The only value that is allowed."},
    "description": {"description": "What the value means; the model reads it.", "type": "string"},
    "title": {"description": "A name for people.", "type": "string"},
    "minimum": {"description": "The lowest number.", "type": "number"},
    "maximum": {"description": "The highest number.", "type": "number"},
    "minLength": {"description": "Characters of a text at least.", "type": "integer"},
    "maxLength": {"description": "Characters of a text at most.", "type": "integer"},
    "pattern": {"description": "A regular expression that a text fits.", "type": "string"},
    "format": {"description": "A format of text, such as `date` or `email`.", "type": "string"},
    "minItems": {"description": "Elements of an array at least.", "type": "integer"},
    "maxItems": {"description": "Elements of an array at most.", "type": "integer"},
    "uniqueItems": {"description": "Whether no element is there twice.", "type": "boolean"},
    "anyOf": {"description": "Schemas of which one fits.", "type": "array", "items": _ANSWER},
    "allOf": {"description": "Schemas that all fit.", "type": "array", "items": _ANSWER},
    "$ref": {"description": "A schema that stands elsewhere, `#/$defs/NAME`.", "type": "string"},
    "$defs": {
        "description": "Schemas that `$ref` names.",
        "type": "object",
        "additionalProperties": _ANSWER,
    },
}


@cache
def pipeline_schema() -> JsonObject:
    """The JSON Schema (2020-12) of a pipeline's YAML or JSON: a shared value, not to be changed.

    It knows the fields and their values; what needs the whole pipeline (names of tasks, templates) is checked by
    `pipelines/validate` alone.
    """
    schema = deepcopy(Pipeline.model_json_schema())
    definitions = schema.pop("$defs")
    root = {"Pipeline": schema, **definitions}
    for model, fields in _SHORT_FORMS.items():
        for name, forms in fields.items():
            _widen(root[model]["properties"][name], forms)
    _widen(schema["properties"]["tasks"]["items"], (_TEXT,))
    output = root["Task"]["properties"]["output"]
    output["anyOf"] = [_ANSWER, {"type": "null"}]
    definitions["AnswerSchema"] = {
        "description": "A JSON Schema.",
        "type": ["object", "boolean"],
        "properties": _ANSWER_FIELDS,
    }
    _untitle(root)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A pipeline of po_jupyter",
        **schema,
        "$defs": definitions,
    }


def _widen(field: JsonObject, forms: tuple[JsonObject, ...]) -> None:
    """Let a field have other forms too."""
    kept = {key: field.pop(key) for key in list(field) if key not in ("description", "default")}
    field["anyOf"] = [*(kept["anyOf"] if list(kept) == ["anyOf"] else [kept]), *forms]


def _untitle(value: Any) -> None:
    """Take out the titles that are made from names of fields."""
    if isinstance(value, dict):
        if isinstance(value.get("title"), str):
            del value["title"]
        for part in value.values():
            _untitle(part)
    elif isinstance(value, list):
        for part in value:
            _untitle(part)


def schemas_at(path: Path) -> list[JsonObject]:
    """The schemas that a value at `path` may have, the references followed; none where anything may stand."""
    found = list(_forms(pipeline_schema()))
    for part in path:
        found = [form for schema in found for form in _step(schema, part)]
    return found


def fields_at(path: Path) -> dict[str, JsonObject]:
    """The fields of a mapping at `path` by their names, each as its schema describes it."""
    fields: dict[str, JsonObject] = {}
    for schema in schemas_at(path):
        for name, described in (schema.get("properties") or {}).items():
            fields.setdefault(name, described)
    return fields


def values_at(path: Path) -> list[str]:
    """The values that can be listed at `path`, as they are written."""
    values: dict[str, None] = {}
    for schema in schemas_at(path):
        if schema.get("type") == "boolean":
            values |= {"true": None, "false": None}
        constants = [schema["const"]] if "const" in schema else schema.get("enum", [])
        values |= {value: None for value in constants if isinstance(value, str)}
    return list(values)


def _step(schema: Mapping[str, Any], part: str | int) -> Iterator[JsonObject]:
    if isinstance(part, int):
        below = schema.get("items")
    else:
        below = (schema.get("properties") or {}).get(part, schema.get("additionalProperties"))
    if isinstance(below, dict):
        yield from _forms(below)


def _forms(schema: JsonObject) -> Iterator[JsonObject]:
    """A schema's alternatives, each with its reference followed."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        yield from _forms(pipeline_schema()["$defs"][name])
    for key in ("anyOf", "oneOf"):
        for form in schema.get(key, ()):
            yield from _forms(form)
    if not {"$ref", "anyOf", "oneOf"} & set(schema):
        yield schema
