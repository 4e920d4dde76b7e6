"""Dialects of JSON Schema: as much of a schema as an API enforces, and the whole of it as text where that is less.

Every answer is validated here against the schema as it was written, and asked for again when it does not fit
(`llm.structured.parsing`): a keyword that an API does not know makes answers worse, but no wrong one passes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from po_jupyter.llm.chat import Message
from po_jupyter.model.values.json import JsonObject

JSON_ONLY = "Answer with JSON and nothing else."
_MAPS = ("properties", "$defs", "definitions")
_ANNOTATIONS = (
    "$schema",
    "default",
    "examples",
    "$comment",
)  # they bind no answer: leaving them out loses nothing
# "JSON Schema limitations", platform.claude.com/docs/en/build-with-claude/structured-outputs, 2026-11.
_ANTHROPIC = frozenset(
    {"type", "enum", "const", "properties", "required", "items", "anyOf", "allOf", "$ref", "$defs",
     "definitions", "description", "title", "additionalProperties", "format"}
)  # fmt: skip
_ANTHROPIC_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)
# `responseJsonSchema`, ai.google.dev/api/generate-content#GenerationConfig, 2026-11.
_GEMINI = frozenset(
    {"$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items",
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


def anthropic_schema(schema: Mapping[str, object]) -> tuple[JsonObject | None, bool]:
    """(the schema that Anthropic's API enforces or None, True when something was left out).

    None: the schema has objects with free keys, recursion or another thing that the API refuses. Objects are
    closed, as the API demands; a closed answer fits the open schema as well.
    """
    if schema.get("type") != "object":
        return None, True
    dialect = _AnthropicDialect(schema)
    try:
        return dialect.translate(schema, ()), dialect.lossy
    except _NotEnforceable:
        return None, True


def gemini_schema(schema: Mapping[str, object]) -> tuple[JsonObject, bool]:
    """(a copy with the keywords that Gemini's API knows, True when something was left out)."""
    dialect = _GeminiDialect()
    copy = dialect.translate(schema)
    assert isinstance(copy, dict)
    return copy, dialect.lossy


class _NotEnforceable(Exception):
    """The API would refuse the schema."""


class _AnthropicDialect:
    """One translation of a schema for Anthropic's API. `lossy`: a keyword that binds answers was left out."""

    def __init__(self, root: Mapping[str, object]) -> None:
        self._root = root
        self.lossy = False

    def translate(self, schema: object, followed: tuple[str, ...]) -> JsonObject:
        """A copy of a part of the schema. `followed` are the references on the way here: recursion is refused."""
        if not isinstance(schema, Mapping):
            raise _NotEnforceable  # true and false are schemas too
        if "$ref" in schema:
            ref = str(schema["$ref"])
            if ref in followed:
                raise _NotEnforceable
            self.translate(_resolve(self._root, ref), (*followed, ref))  # recursion is found by following it
            return {"$ref": ref}
        copy: JsonObject = {}
        for keyword, value in schema.items():
            self._keyword(copy, keyword, value, followed)
        self._close(copy, schema)
        return copy

    def _keyword(self, copy: JsonObject, keyword: str, value: object, followed: tuple[str, ...]) -> None:
        if keyword == "oneOf":
            copy["anyOf"] = [self.translate(branch, followed) for branch in _list(value)]
            self.lossy = True
        elif keyword not in _ANTHROPIC or (keyword == "format" and str(value) not in _ANTHROPIC_FORMATS):
            self.lossy = self.lossy or keyword not in _ANNOTATIONS
        elif keyword in _MAPS and isinstance(value, Mapping):
            copy[keyword] = {name: self.translate(inner, followed) for name, inner in value.items()}
        elif keyword in ("anyOf", "allOf"):
            copy[keyword] = [self.translate(branch, followed) for branch in _list(value)]
        elif keyword == "items":
            copy[keyword] = self.translate(value, followed)
        elif keyword != "additionalProperties":
            copy[keyword] = value

    @staticmethod
    def _close(copy: JsonObject, schema: Mapping[str, object]) -> None:
        """Close an object. Raises _NotEnforceable for one with free keys, and for a list of anything."""
        kind = schema.get("type")
        kinds = kind if isinstance(kind, list) else [kind]
        if "object" in kinds:
            if schema.get("additionalProperties", False) not in (False, True) or not schema.get("properties"):
                raise _NotEnforceable
            copy["additionalProperties"] = False
        if "array" in kinds and "items" not in copy:
            raise _NotEnforceable


class _GeminiDialect:
    """One translation of a schema for Gemini's API. `lossy`: a keyword that binds answers was left out."""

    def __init__(self) -> None:
        self.lossy = False

    def translate(self, schema: object) -> object:
        """A copy of a part of the schema, with the keywords that the API knows."""
        if isinstance(schema, list):
            return [self.translate(inner) for inner in schema]
        if not isinstance(schema, Mapping):
            return schema
        copy: JsonObject = {}
        for keyword, value in schema.items():
            if keyword == "const":
                copy["enum"] = [value]
            elif keyword == "definitions" or keyword not in _GEMINI:
                self.lossy = self.lossy or keyword not in _ANNOTATIONS
            elif keyword in _MAPS and isinstance(value, Mapping):
                copy[keyword] = {name: self.translate(inner) for name, inner in value.items()}
            elif keyword in ("items", "prefixItems", "anyOf", "oneOf", "additionalProperties"):
                copy[keyword] = self.translate(value)
            else:
                copy[keyword] = value
        return copy


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise _NotEnforceable
    return value


def _resolve(root: Mapping[str, object], ref: str) -> object:
    """The part of a schema that a local reference names. Raises _NotEnforceable when there is none."""
    if not ref.startswith("#/"):
        raise _NotEnforceable
    node: object = root
    for step in ref[2:].split("/"):
        if not isinstance(node, Mapping) or step not in node:
            raise _NotEnforceable
        node = node[step]
    return node
