"""The kinds of JSON that a schema asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def kinds_of(schema: object, root: Mapping[str, Any]) -> set[str]:
    """The JSON types that a schema asks for; empty when it says nothing of them."""
    kinds: set[str] = set()
    seen: set[int] = set()
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if not isinstance(part, Mapping) or id(part) in seen:
            continue  # alternatives that are met again say the same
        seen.add(id(part))
        if "const" in part or "enum" in part:
            kinds |= {_kind_of(member) for member in part.get("enum", [part.get("const")])}
        elif kind := part.get("type"):
            kinds |= set(kind if isinstance(kind, list) else [kind])
        else:
            parts = [inner for keyword in ("anyOf", "oneOf", "allOf") for inner in part.get(keyword) or ()]
            if "$ref" in part:
                parts.append(_resolve(str(part["$ref"]), root))
            waiting += parts
            kinds |= {"object"} if "properties" in part else {"array"} if "items" in part else set()
    return kinds


def _resolve(ref: str, root: Mapping[str, Any]) -> object:
    """The part of a schema that a local reference names; None when there is none."""
    node: object = root
    for step in ref.removeprefix("#").strip("/").split("/"):
        if step:
            node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, Mapping) else None
    return node


def _kind_of(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    return {str: "string", int: "integer", float: "number", list: "array"}.get(type(value), "object")
