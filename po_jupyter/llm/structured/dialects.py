"""Dialects of JSON Schema: as much of a schema as an API enforces, and the whole of it as text where that is less.

Every answer is validated here against the schema as it was written, and asked for again when it does not fit
(`llm.structured.parsing`): a keyword that an API does not know makes answers worse, but no wrong one passes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from po_jupyter.llm.chat import Message
from po_jupyter.model.values.json import JsonObject

JSON_ONLY = "Answer with JSON and nothing else."
_MAPS = ("properties", "$defs")
# They bind no answer, and no model needs them: leaving them out loses nothing.
ANNOTATIONS = frozenset(
    {"$schema", "$id", "$comment", "default", "examples", "title", "discriminator", "deprecated"}
)
# "JSON Schema limitations", platform.claude.com/docs/en/build-with-claude/structured-outputs, 2026-11.
_ANTHROPIC = frozenset(
    {"type", "enum", "const", "properties", "required", "items", "anyOf", "allOf", "$ref", "$defs",
     "description", "title", "additionalProperties", "format"}
)  # fmt: skip
FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
# `responseJsonSchema`, ai.google.dev/api/generate-content#GenerationConfig, 2026-11.
_GEMINI = frozenset(
    {"$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items",
     "prefixItems", "minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties",
     "additionalProperties", "required", "propertyOrdering"}
)  # fmt: skip


def schema_as_text(schema: Mapping[str, object]) -> str:
    """The schema as an instruction in a prompt."""
    text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    return f"Answer with JSON that fits this JSON Schema, and with nothing else:\n{text}"


def with_instructions(messages: tuple[Message, ...], instructions: str) -> tuple[Message, ...]:
    """The conversation with instructions at the end of its first system message, or in a new one."""
    if messages and messages[0].role == "system":
        first = Message("system", f"{messages[0].content}\n\n{instructions}")
        return (first, *messages[1:])
    return (Message("system", instructions), *messages)


def with_turn(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The conversation with somebody's turn: where there are only system messages, the last of them is the user's.

    APIs that keep system messages apart refuse a request without any other.
    """
    if not messages or any(message.role != "system" for message in messages):
        return messages
    return (*messages[:-1], replace(messages[-1], role="user"))


def anthropic_schema(schema: Mapping[str, object]) -> tuple[JsonObject | None, bool]:
    """(the schema that Anthropic's API enforces or None, True when something was left out).

    None: the schema has objects with free keys or another thing that the API refuses. Objects are closed, as the API
    demands; a closed answer fits the open schema as well. Roots and recursion are as the vendor's SDK sends them.
    """
    root = with_defs(schema)
    dialect = _AnthropicDialect(root)
    try:
        return dialect.translate(root), dialect.lossy
    except NotEnforceable:
        return None, True


def gemini_schema(schema: Mapping[str, object]) -> tuple[JsonObject, bool]:
    """(a copy with the keywords that Gemini's API knows, True when something was left out)."""
    root = with_defs(schema)
    dialect = _GeminiDialect(root)
    copy = dialect.translate(root)
    assert isinstance(copy, dict)
    return copy, dialect.lossy


class NotEnforceable(Exception):
    """The API would refuse the schema."""


def with_defs(schema: Mapping[str, object]) -> Mapping[str, object]:
    """The schema with its `definitions` (draft 7) under `$defs`, which is all that the vendors know."""
    old = schema.get("definitions")
    if not isinstance(old, Mapping) or not isinstance(schema.get("$defs", {}), Mapping):
        return schema
    moved = {name: value for name, value in schema.items() if name != "definitions"}
    moved["$defs"] = {**old, **dict(schema.get("$defs", {}))}  # type: ignore[call-overload]  # it is a mapping
    renamed = renamed_refs(moved, "#/definitions/", "#/$defs/")
    return renamed if isinstance(renamed, Mapping) else schema


def renamed_refs(value: object, old: str, new: str) -> object:
    """A copy of a schema in which references that begin with `old` begin with `new`."""
    if isinstance(value, list):
        return [renamed_refs(inner, old, new) for inner in value]
    if not isinstance(value, Mapping):
        return value
    copy = {name: renamed_refs(inner, old, new) for name, inner in value.items()}
    ref = copy.get("$ref")
    if isinstance(ref, str) and ref.startswith(old):
        copy["$ref"] = new + ref.removeprefix(old)
    return copy


def without_siblings(
    root: Mapping[str, object], schema: Mapping[str, object]
) -> tuple[Mapping[str, object], bool]:
    """(a schema with `$ref` as the vendors take it: alone; True when something was left out).

    What stands beside the reference is kept by putting the definition in its place, unless that refers further.
    """
    siblings = {
        name: value for name, value in schema.items() if name not in ANNOTATIONS and not name.startswith("$")
    }
    defs = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    if not siblings:
        return {"$ref": schema["$ref"], **defs}, False
    definition = resolve(root, str(schema["$ref"]))
    if isinstance(definition, Mapping) and '"$ref"' not in json.dumps(definition, default=str):
        return {**definition, **siblings, **defs}, False
    return {"$ref": schema["$ref"], **defs}, True


class _AnthropicDialect:
    """One translation of a schema for Anthropic's API. `lossy`: a keyword that binds answers was left out."""

    def __init__(self, root: Mapping[str, object]) -> None:
        self._root = root
        self.lossy = False

    def translate(self, schema: object) -> JsonObject:
        """A copy of a part of the schema. Raises NotEnforceable."""
        if not isinstance(schema, Mapping):
            raise NotEnforceable  # true and false are schemas too
        if "$ref" in schema:
            schema, lost = without_siblings(self._root, schema)
            self.lossy = self.lossy or lost
        if "$ref" in schema:
            resolve(self._root, str(schema["$ref"]))
            copy: JsonObject = {"$ref": schema["$ref"]}
            if "$defs" in schema:
                self._keyword(copy, "$defs", schema["$defs"])
            return copy
        if isinstance(schema.get("type"), list):
            schema = _without_kinds(schema)
        copy = {}
        for keyword, value in schema.items():
            self._keyword(copy, keyword, value)
        if "properties" in copy:
            copy.setdefault("type", "object")
        if "enum" in copy or "const" in copy:
            copy.pop("type", None)  # the values say it, and the vendor's SDK sends no more
        self._close(copy, schema)
        return copy

    def _keyword(self, copy: JsonObject, keyword: str, value: object) -> None:
        if keyword == "oneOf":
            copy["anyOf"] = [self.translate(branch) for branch in as_list(value)]
            self.lossy = True
        elif keyword not in _ANTHROPIC or (keyword == "format" and str(value) not in FORMATS):
            self.lossy = self.lossy or keyword not in ANNOTATIONS
        elif keyword in _MAPS and isinstance(value, Mapping):
            copy[keyword] = {name: self.translate(inner) for name, inner in value.items()}
        elif keyword in ("anyOf", "allOf"):
            copy[keyword] = [self.translate(branch) for branch in as_list(value)]
        elif keyword == "items":
            copy[keyword] = self.translate(value)
        elif keyword != "additionalProperties":
            copy[keyword] = value

    @staticmethod
    def _close(copy: JsonObject, schema: Mapping[str, object]) -> None:
        """Close an object. Raises NotEnforceable for one with free keys, and for a list of anything."""
        if schema.get("type") == "object" or "properties" in schema:
            if schema.get("additionalProperties", False) not in (False, True) or not schema.get("properties"):
                raise NotEnforceable
            copy["additionalProperties"] = False
        if schema.get("type") == "array" and "items" not in copy:
            raise NotEnforceable


def _without_kinds(schema: Mapping[str, object]) -> Mapping[str, object]:
    """A schema with a list of types as one with alternatives, each with one. Raises NotEnforceable."""
    around = {name: schema[name] for name in ("description", "title", "$defs") if name in schema}
    inner = {name: value for name, value in schema.items() if name not in around and name != "type"}
    if "enum" in inner or "const" in inner:
        return {**around, **inner}  # the values say their types themselves
    if {"anyOf", "oneOf", "allOf"} & inner.keys():
        raise NotEnforceable
    branches: list[object] = []
    for kind in as_list(schema["type"]):
        keywords = _OF_KIND.get(str(kind), frozenset())
        branches.append({"type": kind, **{name: value for name, value in inner.items() if name in keywords}})
    return {**around, "anyOf": branches}


_OF_KIND: Mapping[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties", "minProperties", "maxProperties"}),
    "array": frozenset({"items", "minItems", "maxItems", "uniqueItems"}),
    "string": frozenset({"format", "pattern", "minLength", "maxLength"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
}


class _GeminiDialect:
    """One translation of a schema for Gemini's API. `lossy`: a keyword that binds answers was left out."""

    def __init__(self, root: Mapping[str, object]) -> None:
        self._root = root
        self.lossy = False

    def translate(self, schema: object) -> object:
        """A copy of a part of the schema, with the keywords that the API knows."""
        if isinstance(schema, list):
            return [self.translate(inner) for inner in schema]
        if not isinstance(schema, Mapping):
            return schema
        if "$ref" in schema:
            schema = self._alone(schema)
        copy: JsonObject = {}
        for keyword, value in schema.items():
            if keyword == "const":
                copy["enum"] = [value]
            elif keyword not in _GEMINI:
                self.lossy = self.lossy or keyword not in ANNOTATIONS
            elif keyword in _MAPS and isinstance(value, Mapping):
                copy[keyword] = {name: self.translate(inner) for name, inner in value.items()}
            elif keyword in ("items", "prefixItems", "anyOf", "oneOf", "additionalProperties"):
                copy[keyword] = self.translate(value)
            else:
                copy[keyword] = value
        return copy

    def _alone(self, schema: Mapping[str, object]) -> Mapping[str, object]:
        try:
            alone, lost = without_siblings(self._root, schema)
        except NotEnforceable:  # it refers to nothing: the validator says so
            alone, lost = {"$ref": schema["$ref"]}, True
        self.lossy = self.lossy or lost
        return alone


def as_list(value: object) -> list[object]:
    """The value, which must be a list. Raises NotEnforceable."""
    if not isinstance(value, list):
        raise NotEnforceable
    return value


def resolve(root: Mapping[str, object], ref: str) -> object:
    """The part of a schema that a local reference names. Raises NotEnforceable when there is none."""
    if ref == "#":
        return root
    if not ref.startswith("#/"):
        raise NotEnforceable
    node: object = root
    for step in ref[2:].split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, Mapping) or name not in node:
            raise NotEnforceable
        node = node[name]
    return node
