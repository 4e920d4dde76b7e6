"""The example value of a JSON Schema, deterministic: the answer of fakes when JSON is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from po_jupyter.llm.structured.formats import FORMATS


def example_value(
    schema: Any, *, text: str = "text", root: Mapping[str, Any] | None = None, depth: int = 0
) -> Any:
    """The plainest value that fits `schema`.

    The first `enum` or `anyOf` member, minimal numbers and lengths, every declared property, one
    element in an array. `text` is the material for strings, unless they have a format. Local `$ref`s are followed;
    keywords that need search (`pattern`, `not`) are not honoured.
    """
    if not isinstance(schema, Mapping):
        return {}
    root = schema if root is None else root
    if depth > 16:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "default" in schema:
        return schema["default"]
    if "$ref" in schema:
        return example_value(_resolve(root, str(schema["$ref"])), text=text, root=root, depth=depth + 1)
    for keyword in ("anyOf", "oneOf"):
        if schema.get(keyword):
            return example_value(schema[keyword][0], text=text, root=root, depth=depth + 1)
    if schema.get("allOf"):
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            value = example_value(part, text=text, root=root, depth=depth + 1)
            if not isinstance(value, dict):
                return value
            merged.update(value)
        return merged
    return _typed(schema, text, root, depth)


def _typed(schema: Mapping[str, Any], text: str, root: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in kind if k != "null"), "null")
    if kind is None:
        kind = "array" if "items" in schema else "object"
    if kind == "object":
        properties = schema.get("properties") or {}
        names = [*properties, *(n for n in schema.get("required") or () if n not in properties)]
        return {
            n: example_value(properties.get(n, {"type": "string"}), text=text, root=root, depth=depth + 1)
            for n in names
        }
    if kind == "array":
        count = max(int(schema.get("minItems", 1)), 0)
        count = min(count or 1, int(schema.get("maxItems", count or 1)))
        return [
            example_value(schema.get("items", {}), text=text, root=root, depth=depth + 1) for _ in range(count)
        ]
    if kind in ("integer", "number"):
        return _number(schema, whole=kind == "integer")
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    if (format := FORMATS.get(str(schema.get("format")))) is not None:
        return format.example
    value = text.ljust(int(schema.get("minLength", 0)), ".")
    return value[: int(schema["maxLength"])] if "maxLength" in schema else value


def _number(schema: Mapping[str, Any], *, whole: bool) -> float:
    step = schema.get("multipleOf", 1 if whole else 0.5)
    if "minimum" in schema:
        value = -(-schema["minimum"] // step) * step
    elif "exclusiveMinimum" in schema:
        value = (schema["exclusiveMinimum"] // step + 1) * step
    else:
        high = min(schema.get("maximum", 0), -(-schema.get("exclusiveMaximum", step) // step) * step - step)
        value = min(0, high // step * step)
    return int(value) if whole else value


def _resolve(root: Mapping[str, Any], ref: str) -> Any:
    node: Any = root
    for part in ref.removeprefix("#").strip("/").split("/"):
        if part:
            node = node.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(node, Mapping) else {}
    return node
