"""A JSON Schema on its way to an API: as much of it as the API enforces, and the rest in words.

Every answer is validated here against the schema as it was written, and asked for again when it does not fit
(`llm.structured`): what an API does not know makes answers worse, never wrong ones pass.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from po_jupyter.llm.chat import Message

JSON_ONLY = "Answer with JSON and nothing else."
_MAPS = ("properties", "$defs", "definitions")
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


def told(schema: Mapping[str, Any]) -> str:
    """The schema as an instruction."""
    text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    return f"Answer with JSON that fits this JSON Schema, and with nothing else:\n{text}"


def instructed(messages: tuple[Message, ...], words: str) -> tuple[Message, ...]:
    """The conversation with an instruction at the end of its first system message, or as a new one."""
    if messages and messages[0].role == "system":
        first = Message("system", f"{messages[0].content}\n\n{words}")
        return (first, *messages[1:])
    return (Message("system", words), *messages)


def for_anthropic(schema: Mapping[str, Any]) -> tuple[dict[str, Any] | None, bool]:
    """(what the API enforces or None, whether something was left out).

    None: the schema has objects with free keys, recursion or another thing that the API refuses. Objects are
    closed, as the API demands; a closed answer fits the open schema as well.
    """
    try:
        if schema.get("type") != "object":
            return None, True
        lost = [False]
        copy = _anthropic(schema, lost, schema, ())
    except _NotEnforceable:
        return None, True
    return copy, lost[0]


def for_gemini(schema: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """(a copy with the keywords that the API knows, whether something was left out)."""
    lost = [False]
    copy = _known(schema, lost)
    assert isinstance(copy, dict)
    return copy, lost[0]


class _NotEnforceable(Exception):
    pass


def _anthropic(schema: Any, lost: list[bool], root: Mapping[str, Any], seen: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        raise _NotEnforceable  # true and false are schemas too
    if "$ref" in schema:
        ref = str(schema["$ref"])
        target = _local(root, ref)
        if ref in seen:
            raise _NotEnforceable
        _anthropic(target, lost, root, (*seen, ref))  # recursion is found by following it
        return {"$ref": ref}
    copy: dict[str, Any] = {}
    for word, value in schema.items():
        if word == "oneOf":
            copy["anyOf"] = [_anthropic(part, lost, root, seen) for part in value]
            lost[0] = True
        elif word not in _ANTHROPIC or (word == "format" and value not in _ANTHROPIC_FORMATS):
            lost[0] = lost[0] or word not in ("$schema", "default", "examples", "$comment")
        elif word in _MAPS:
            copy[word] = {name: _anthropic(part, lost, root, seen) for name, part in value.items()}
        elif word in ("anyOf", "allOf"):
            copy[word] = [_anthropic(part, lost, root, seen) for part in value]
        elif word == "items":
            copy[word] = _anthropic(value, lost, root, seen)
        elif word != "additionalProperties":
            copy[word] = value
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if "object" in kinds:
        if schema.get("additionalProperties", False) not in (False, True) or not schema.get("properties"):
            raise _NotEnforceable
        copy["additionalProperties"] = False
    if "array" in kinds and "items" not in copy:
        raise _NotEnforceable
    return copy


def _known(schema: Any, lost: list[bool]) -> Any:
    if isinstance(schema, list):
        return [_known(part, lost) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy: dict[str, Any] = {}
    for word, value in schema.items():
        if word == "const":
            copy["enum"] = [value]
        elif word == "definitions" or word not in _GEMINI:
            lost[0] = lost[0] or word not in ("$schema", "default", "examples", "$comment")
        elif word in _MAPS:
            copy[word] = {name: _known(part, lost) for name, part in value.items()}
        elif word in ("items", "prefixItems", "anyOf", "oneOf", "additionalProperties"):
            copy[word] = _known(value, lost)
        else:
            copy[word] = value
    return copy


def _local(root: Mapping[str, Any], ref: str) -> Any:
    if not ref.startswith("#/"):
        raise _NotEnforceable
    found: Any = root
    for part in ref[2:].split("/"):
        if not isinstance(found, Mapping) or part not in found:
            raise _NotEnforceable
        found = found[part]
    return found
