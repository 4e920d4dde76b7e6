"""Tables in Markdown, and pydantic models and JSON Schemas in a few words."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo


def markdown_table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; `|` and line breaks within cells are kept from ending them."""
    columns = list(head)
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def as_sentence(text: str) -> str:
    """The text, ended by a full stop."""
    return text if not text or text.endswith((".", ":", "…")) else f"{text}."


def type_text(schema: Mapping[str, Any], link: Callable[[str], str]) -> str:
    """A JSON Schema in a few words, such as `integer, 1 to 1000`; `link` names another model."""
    if "$ref" in schema:
        return link(schema["$ref"].rpartition("/")[2])
    if "allOf" in schema:
        return " and ".join(type_text(part, link) for part in schema["allOf"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            parts = [type_text(p, link) for p in schema[key] if p.get("type") != "null"]
            return " or ".join(dict.fromkeys(parts))
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value).strip(chr(34))}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const']).strip(chr(34))}`"
    return _plain_type(schema, link)


def _plain_type(schema: Mapping[str, Any], link: Callable[[str], str]) -> str:
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items") or {}
        text = f"list of {type_text(items, link)}"
        most = schema.get("maxItems")
        return f"{text}, at most {most:,}" if most else text
    if kind == "object":
        values = schema.get("additionalProperties")
        inner = isinstance(values, dict) and values and type_text(values, link)
        return f"mapping of names to {inner}" if inner and inner != "anything" else "mapping"
    if kind in ("integer", "number"):
        return f"{kind}{_bounds(schema)}"
    names = {"string": "text", "boolean": "`true`, `false`"}
    return names.get(str(kind), "anything")


def _bounds(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above = schema.get("exclusiveMinimum")
    if low is not None and high is not None:
        return f", {low:,} to {high:,}"
    if above is not None:
        return f", above {above:,}" + (f", at most {high:,}" if high is not None else "")
    return f", at least {low:,}" if low is not None else ""


def default_text(value: Any) -> str:
    """A default as the code of a cell; nothing for one that is empty."""
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_defaults=True)
    if value is None or value in ("", (), {}, []):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def declared_default(field: FieldInfo) -> Any:
    """The default of a field; None for one that is made anew each time."""
    return None if field.default_factory is not None else field.default


def model_fields_of(model: type[BaseModel], link: Callable[[str], str]) -> Iterator[tuple[str, str, str, str]]:
    """`(name, type, default, description)` of each field."""
    schema = model.model_json_schema(ref_template="#/$defs/{model}")
    for name, field in model.model_fields.items():
        described = schema["properties"].get(name, {})
        default = "required" if field.is_required() else default_text(declared_default(field))
        yield name, type_text(described, link), default, as_sentence(field.description or "")


def first_paragraph(doc: str | None) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join(inspect.cleandoc(doc or "").partition("\n\n")[0].split())
