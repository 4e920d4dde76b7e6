"""OpenAI's structured outputs: strict where the schema fits, an object at the root, and the answer as it was asked."""

import json
from typing import Literal

import pytest
from hypothesis import given
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, Field, TypeAdapter

from po_jupyter.llm.structured.openai_schema import openai_schema, unwrap
from tests.llm.structured.test_dialects import SCHEMAS

LABEL = {"enum": ["bug", "praise"]}


def of(required=None, **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties if required is None else required),
    }


def assert_fits_the_rules(schema, root=True):
    """OpenAI's published rules for strict mode."""
    assert not root or (schema["type"] == "object" and "anyOf" not in schema)
    if "$ref" in schema:
        assert list(schema) == ["$ref"]
        return
    assert "type" in schema or "anyOf" in schema
    assert not {"allOf", "oneOf", "not", "if", "then", "else", "patternProperties", "default"} & schema.keys()
    if "properties" in schema:
        assert schema["additionalProperties"] is False and schema["required"] == list(schema["properties"])
    inner = [
        *schema.get("properties", {}).values(),
        *schema.get("$defs", {}).values(),
        *schema.get("anyOf", []),
    ]
    for part in inner + ([schema["items"]] if "items" in schema else []):
        assert_fits_the_rules(part, root=False)


NODE = of(name={"type": "string"}, children={"type": "array", "items": {"$ref": "#/$defs/Node"}})
STRICT = {
    "an open object": of(label=LABEL),
    "a closed one": {**of(label={"type": "string", **LABEL}), "additionalProperties": False},
    "a whole number in bounds": of(n={"type": "integer", "minimum": 0, "maximum": 9}),
    "what may be null is optional": of(["a"], a=LABEL, b={"type": ["string", "null"], "default": None}),
    "what has a default is optional": of([], a={"type": "integer", "default": 3}),
    "alternatives": of(a={"anyOf": [{"type": "string"}, {"type": "null"}]}),
    "recursion": {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}},
    "old definitions": {**of(a={"$ref": "#/definitions/L"}), "definitions": {"L": LABEL}},
    "a reference with siblings": {**of(a={"$ref": "#/$defs/L", "description": "d"}), "$defs": {"L": LABEL}},
    "all of one": of(a={"allOf": [{"type": "string"}], "description": "d"}),
    "a list": {"type": "array", "items": of(label=LABEL)},
    "a word": {"type": "string", **LABEL},
    "alternatives at the root": {"anyOf": [of(a=LABEL), of(b={"type": "null"})]},
    "recursion to a root that is no object": {"type": "array", "items": {"$ref": "#"}},
    "mixed values": of(a={"enum": ["x", 1, None]}),
    "one value": of(a={"const": "x"}),
}


@pytest.mark.parametrize("name", STRICT)
def test_a_schema_that_fits_is_strict_so_that_its_enums_are_guaranteed(name):
    before = json.dumps(STRICT[name])
    made = openai_schema(STRICT[name])
    assert made.strict and made.in_full is None
    assert_fits_the_rules(made.schema)
    assert json.dumps(STRICT[name]) == before


TOLD = {
    "a length": of(a={"type": "string", "maxLength": 3}),
    "different elements": of(a={"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
    "a format of its own": of(a={"type": "string", "format": "iban"}),
    "a look around": of(a={"type": "string", "pattern": "^(?!x)"}),
    "one of several": of(a={"oneOf": [{"type": "string"}, {"type": "null"}]}),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_strict_mode_does_not_know_is_left_out_and_told(name):
    made = openai_schema(TOLD[name])
    assert made.strict and made.in_full == TOLD[name]
    assert_fits_the_rules(made.schema)


DEEP = of(a={"type": "string"})
for _ in range(11):
    DEEP = of(a=DEEP)
LOOSE = {
    "an optional property that cannot be null": of(["a"], a=LABEL, b={"type": "string"}),
    "free keys": {**of(a=LABEL), "additionalProperties": {"type": "number"}},
    "free keys that are asked for": {**of(a=LABEL), "additionalProperties": True},
    "keys by pattern": {**of(a=LABEL), "patternProperties": {"^x": {}}},
    "an object of anything": {"type": "object"},
    "a list of anything": of(a={"type": "array"}),
    "anything": of(a={}),
    "true": of(a=True),
    "all of two": of(a={"allOf": [of(x=LABEL), of(y=LABEL)]}),
    "a reference to nothing": of(a={"$ref": "#/$defs/none"}),
    "a reference to elsewhere": of(a={"$ref": "https://x.example/s.json"}),
    "eleven levels": DEEP,
    "too many values": of(a={"enum": [str(n) for n in range(1001)]}),
    "values too long": of(a={"enum": [f"{n:060}" for n in range(300)]}),
    "an object as a value": of(a={"const": {"x": 1}}),
}


@pytest.mark.parametrize("name", LOOSE)
def test_a_schema_that_does_not_fit_goes_out_as_it_was_written(name):
    made = openai_schema(LOOSE[name])
    assert (made.schema, made.strict, made.wrapped, made.in_full) == (LOOSE[name], False, False, None)


@pytest.mark.parametrize("strict", [True, False])
def test_a_root_that_is_no_object_is_wrapped_and_the_answer_taken_out(strict):
    made = openai_schema(
        {"type": "array", "items": {"$ref": "#/$defs/L"}, "$defs": {"L": LABEL}}, strict=strict
    )
    assert made.wrapped and made.strict is strict
    assert made.schema["properties"]["answer"] == {"type": "array", "items": {"$ref": "#/$defs/L"}}
    assert made.schema["$defs"]["L"]["enum"] == LABEL["enum"] and made.schema["required"] == ["answer"]
    assert openai_schema({"type": "array"}).wrapped, "wrapped, and not enforced"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"answer": ["bug"]}', '["bug"]'),
        (' {"answer":"ü"}\n', '"ü"'),
        ('{"answer": null}', "null"),
        ('["bug"]', '["bug"]'),
        ('{"answer": 1, "more": 2}', '{"answer": 1, "more": 2}'),
        ('{"answer": [', '{"answer": ['),
        ("", ""),
    ],
)
def test_only_what_was_wrapped_is_unwrapped(text, answer):
    assert unwrap(text) == answer


class Point(BaseModel):
    label: Literal["bug", "praise"]
    note: str | None = Field(None, description="why")
    score: int = Field(0, ge=0)


@pytest.mark.parametrize("kind", [Point, list[Point], Literal["a", "b"], Point | None])
def test_classes_are_strict_as_in_the_vendors_sdk(kind):
    adapter = TypeAdapter(kind)
    made = openai_schema(adapter.json_schema())
    assert made.strict
    assert_fits_the_rules(made.schema)
    if kind is Point:
        theirs = to_strict_json_schema(Point)
        assert (made.schema["required"], list(made.schema["properties"])) == (
            theirs["required"],
            list(theirs["properties"]),
        )


@given(SCHEMAS)
def test_no_schema_however_odd_stops_a_request(schema):
    """P11."""
    made = openai_schema({"a": schema} if not isinstance(schema, dict) else schema)
    if made.strict:
        assert_fits_the_rules(made.schema)
