"""The dialect of OpenAI's structured outputs: strict where a schema fits the published rules, and an object always.

Strict mode guarantees the shape, enums included. Its rules ("Structured model outputs", developers.openai.com, read
2026-11): every object is closed and lists all its properties as required, no `allOf`, `not`, `if`, a reference stands
alone, bounded size. Objects are closed here, and a property that may be null or has a default is made required: an
answer to the narrower schema fits the wider one. Keywords that bind and are not known are left out, and told in words.
A schema that does not fit goes out as it was written, and binds nobody.

The root is an object in every mode. Another one is put under `answer`, and the answer is taken out again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from po_jupyter.llm.structured.dialects import (
    ANNOTATIONS,
    FORMATS,
    NotEnforceable,
    as_list,
    resolve,
    with_defs,
    without_siblings,
)
from po_jupyter.model.values.json import JsonObject

WRAPPER = "answer"
_MAX_PROPERTIES = 5000
_MAX_DEPTH = 10
_MAX_ENUM = 1000
_MAX_STRINGS = 120_000  # characters of names, enums and constants
_LARGE_ENUM = (250, 15_000)  # an enum with more values than this may have so many characters
_KINDS = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_KNOWN = frozenset(
    {"type", "description", "enum", "const", "pattern", "multipleOf", "minimum", "maximum", "exclusiveMinimum",
     "exclusiveMaximum", "minItems", "maxItems"}
)  # fmt: skip
_LOOKAROUND = ("(?=", "(?!", "(?<")
_FREE_KEYS = frozenset({"patternProperties", "propertyNames", "unevaluatedProperties"})


@dataclass(frozen=True, slots=True)
class OpenAISchema:
    """A schema as it is sent.

    strict   the API enforces it
    wrapped  the answer is under `WRAPPER`
    in_full  the schema with all that binds the answer, for the prompt; None when nothing was left out
    """

    schema: Mapping[str, object]
    strict: bool
    wrapped: bool
    in_full: Mapping[str, object] | None = None

    def as_format(self) -> JsonObject:
        """`name`, `schema` and `strict`, as both APIs take them."""
        return {"name": "answer", "schema": self.schema, "strict": self.strict}


def openai_schema(schema: Mapping[str, object], *, strict: bool = True) -> OpenAISchema:
    """The schema as it is sent; without `strict` only its root is seen to."""
    return _made(json.dumps(schema), strict)


@lru_cache(maxsize=256)
def _made(text: str, strict: bool) -> OpenAISchema:
    schema: Mapping[str, object] = json.loads(text)
    root = _with_object_root(with_defs(schema))
    wrapped = root is None
    root = _wrapped(with_defs(schema)) if root is None else root
    if strict:
        dialect = _StrictDialect(root)
        try:
            return OpenAISchema(dialect.translate(root, 0), True, wrapped, root if dialect.lossy else None)
        except (NotEnforceable, RecursionError):
            pass
    return OpenAISchema(root if wrapped else schema, False, wrapped)


def unwrap(text: str) -> str:
    """The JSON of the answer in a wrapped one; the text itself when it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(value, dict) or value.keys() != {WRAPPER}:
        return text
    return json.dumps(value[WRAPPER], ensure_ascii=False)


def _with_object_root(schema: Mapping[str, object]) -> Mapping[str, object] | None:
    """The schema with an object at its root; None when its root is another."""
    if "$ref" in schema and not schema.keys() - {"$ref", "$defs"} - ANNOTATIONS - {"description"}:
        try:
            definition = resolve(schema, str(schema["$ref"]))
        except NotEnforceable:
            return None
        if not isinstance(definition, Mapping) or "$ref" in definition:
            return None
        schema = {**definition, "$defs": schema.get("$defs", {})}
    if {"anyOf", "oneOf", "allOf", "enum", "const", "not", "if", "$ref"} & schema.keys():
        return None
    if schema.get("type") == "object":
        return schema
    return {"type": "object", **schema} if "type" not in schema and "properties" in schema else None


def _wrapped(schema: Mapping[str, object]) -> Mapping[str, object]:
    outside = {name: schema[name] for name in ("$defs", "$schema") if name in schema}
    inner = {name: value for name, value in schema.items() if name not in outside}
    moved = _own_root_moved({WRAPPER: inner, **outside})
    assert isinstance(moved, dict)
    answer = moved.pop(WRAPPER)
    return {
        "type": "object",
        "properties": {WRAPPER: answer},
        "required": [WRAPPER],
        "additionalProperties": False,
        **moved,
    }


def _own_root_moved(value: object) -> object:
    """A copy in which references to the root name the place where it is now."""
    if isinstance(value, list):
        return [_own_root_moved(inner) for inner in value]
    if not isinstance(value, Mapping):
        return value
    copy = {name: _own_root_moved(inner) for name, inner in value.items()}
    if copy.get("$ref") == "#":
        copy["$ref"] = f"#/properties/{WRAPPER}"
    return copy


class _StrictDialect:
    """One translation of a schema for strict mode. `lossy`: a keyword that binds answers was left out."""

    def __init__(self, root: Mapping[str, object]) -> None:
        self._root = root
        self._properties = self._values = self._characters = 0
        self.lossy = False

    def translate(self, schema: object, depth: int) -> JsonObject:
        """A copy of a part of the schema, `depth` objects below the root. Raises NotEnforceable."""
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            raise NotEnforceable
        if "$ref" in schema:
            schema, lost = without_siblings(self._root, schema)
            self.lossy = self.lossy or lost
        if "$ref" in schema:
            resolve(self._root, str(schema["$ref"]))
            return {"$ref": schema["$ref"]}
        schema = _merged(schema)
        copy: JsonObject = {}
        if isinstance(schema.get("$defs"), Mapping):
            definitions = schema["$defs"]
            assert isinstance(definitions, Mapping)
            copy["$defs"] = {name: self.translate(inner, depth) for name, inner in definitions.items()}
        for keyword, value in schema.items():
            self._keyword(copy, keyword, value, depth)
        kinds = self._kinds(copy, schema)
        if "object" in kinds:
            self._object(copy, schema, depth)
        if "array" in kinds:
            copy["items"] = self.translate(schema.get("items"), depth + 1)
        self._count_values(copy)
        return copy

    def _keyword(self, copy: JsonObject, keyword: str, value: object, depth: int) -> None:
        if keyword in ("anyOf", "oneOf"):
            if "anyOf" in copy:
                raise NotEnforceable
            copy["anyOf"] = [self.translate(branch, depth) for branch in as_list(value)]
            self.lossy = self.lossy or keyword == "oneOf"
        elif keyword == "format":
            if str(value) in FORMATS - {"uri"}:
                copy[keyword] = value
            else:
                self.lossy = True
        elif keyword == "pattern" and any(sign in str(value) for sign in _LOOKAROUND):
            self.lossy = True
        elif keyword in _KNOWN:
            copy[keyword] = value
        elif keyword in _FREE_KEYS or keyword == "prefixItems":
            raise NotEnforceable
        elif keyword not in ("$defs", "properties", "required", "additionalProperties", "items"):
            self.lossy = self.lossy or keyword not in ANNOTATIONS

    def _kinds(self, copy: JsonObject, schema: Mapping[str, object]) -> list[object]:
        """The types of a schema, which must say them; those that its values or keywords mean are added."""
        if "anyOf" in copy:
            if {"properties", "items", "enum", "const"} & schema.keys():
                raise NotEnforceable
            copy.pop("type", None)
            return []
        kind = copy.get("type") or _kind_of(schema)
        kinds = kind if isinstance(kind, list) else [kind]
        if not kinds or not all(isinstance(one, str) and one in _KINDS for one in kinds):
            raise NotEnforceable
        copy["type"] = kind
        return kinds

    def _object(self, copy: JsonObject, schema: Mapping[str, object], depth: int) -> None:
        properties, required = schema.get("properties"), schema.get("required", [])
        if schema.get("additionalProperties", False) is not False or not isinstance(properties, Mapping):
            raise NotEnforceable
        if not properties and "additionalProperties" not in schema:
            raise NotEnforceable
        names = set(map(str, as_list(required)))
        if names - properties.keys() or not all(
            name in names or self._may_be_required(inner) for name, inner in properties.items()
        ):
            raise NotEnforceable
        copy["properties"] = {name: self.translate(inner, depth + 1) for name, inner in properties.items()}
        copy["required"] = list(properties)
        copy["additionalProperties"] = False
        self._properties += len(properties)
        self._characters += sum(map(len, properties))
        if self._properties > _MAX_PROPERTIES or self._characters > _MAX_STRINGS:
            raise NotEnforceable

    def _may_be_required(self, schema: object) -> bool:
        """True for an optional property that an answer can hold all the same: with null, or with a default."""
        if not isinstance(schema, Mapping):
            return False
        if "$ref" in schema and "default" not in schema:
            return self._may_be_null(resolve(self._root, str(schema["$ref"])), 0)
        return "default" in schema or self._may_be_null(schema, 0)

    def _may_be_null(self, schema: object, depth: int) -> bool:
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            return False
        kind = schema.get("type")
        if kind == "null" or (isinstance(kind, list) and "null" in kind):
            values = schema.get("enum")
            return not isinstance(values, list) or None in values
        branches = schema.get("anyOf", schema.get("oneOf"))
        return isinstance(branches, list) and any(self._may_be_null(branch, depth + 1) for branch in branches)

    def _count_values(self, copy: JsonObject) -> None:
        if "enum" not in copy and "const" not in copy:
            return
        values = as_list(copy["enum"]) if "enum" in copy else [copy["const"]]
        if not values or not all(value is None or isinstance(value, str | int | float) for value in values):
            raise NotEnforceable
        size = sum(len(value) for value in values if isinstance(value, str))
        self._values += len(values)
        self._characters += size
        many, most = _LARGE_ENUM
        if self._values > _MAX_ENUM or self._characters > _MAX_STRINGS or (len(values) > many and size > most):
            raise NotEnforceable


def _merged(schema: Mapping[str, object]) -> Mapping[str, object]:
    """The schema without an `allOf` of one. Raises NotEnforceable for more."""
    parts = schema.get("allOf")
    if parts is None:
        return schema
    if (
        not isinstance(parts, list)
        or len(parts) != 1
        or not isinstance(parts[0], Mapping)
        or "$ref" in parts[0]
    ):
        raise NotEnforceable
    rest = {name: value for name, value in schema.items() if name != "allOf"}
    if rest.keys() & parts[0].keys() - ANNOTATIONS - {"description"}:
        raise NotEnforceable
    return {**parts[0], **rest}


def _kind_of(schema: Mapping[str, object]) -> object:
    """The type that a schema without one means."""
    if "properties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    kinds = list(dict.fromkeys(map(_kind_of_value, values if isinstance(values, list) else [])))
    return kinds[0] if len(kinds) == 1 else kinds


def _kind_of_value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "string" if isinstance(value, str) else "object"
