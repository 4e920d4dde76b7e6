"""Dialects of JSON Schema: what an API enforces, and what goes as text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.llm.chat import Message
from po_jupyter.llm.structured.dialects import (
    anthropic_schema,
    gemini_schema,
    schema_as_text,
    with_instructions,
)


def of(**properties):
    return {"type": "object", "properties": properties}


def test_instructions_end_the_first_system_message_or_are_one():
    user = Message("user", "hi")
    assert with_instructions((user,), "As JSON.") == (Message("system", "As JSON."), user)
    both = with_instructions((Message("system", "Be short."), user), "As JSON.")
    assert both == (Message("system", "Be short.\n\nAs JSON."), user)
    assert schema_as_text({"enum": ["ä"]}).endswith('\n{"enum":["ä"]}')


ENFORCED = [
    ("a closed object", of(a={"type": "string"}), False),
    ("annotations", {**of(a={"default": 1, "$comment": "x"}), "$schema": "y", "examples": []}, False),
    ("a format that is known", of(a={"type": "string", "format": "date"}), False),
    ("a format that is not", of(a={"type": "string", "format": "iban"}), True),
    ("a bound", of(a={"type": "string", "maxLength": 3}), True),
    ("one of several", of(a={"oneOf": [{"type": "string"}, {"type": "null"}]}), True),
    ("any of several", of(a={"anyOf": [{"type": "string"}, {"type": "null"}]}), False),
    ("a list of something", of(a={"type": "array", "items": {"type": "string"}}), False),
    ("a reference", {**of(a={"$ref": "#/$defs/x"}), "$defs": {"x": {"type": "string"}}}, False),
]


@pytest.mark.parametrize(("name", "schema", "lossy"), ENFORCED, ids=[case[0] for case in ENFORCED])
def test_anthropic_enforces(name, schema, lossy):
    before = json.dumps(schema)
    copy, lost = anthropic_schema(schema)
    assert copy is not None and copy["additionalProperties"] is False and lost is lossy
    assert json.dumps(schema) == before, "the schema of the caller is not touched"
    if name == "one of several":
        assert "anyOf" in copy["properties"]["a"]


NOT_ENFORCED = {
    "no object": {"type": "array", "items": {"type": "string"}},
    "an object without properties": {"type": "object"},
    "free keys": {**of(a={"type": "string"}), "additionalProperties": {"type": "number"}},
    "a list of anything": of(a={"type": "array"}),
    "true as a schema": of(a=True),
    "recursion": {**of(a={"$ref": "#/$defs/x"}), "$defs": {"x": of(b={"$ref": "#/$defs/x"})}},
    "a reference to elsewhere": of(a={"$ref": "https://x.example/s.json"}),
    "a reference to nothing": of(a={"$ref": "#/$defs/none"}),
    "alternatives that are none": of(a={"anyOf": {"type": "string"}}),
}


@pytest.mark.parametrize("name", NOT_ENFORCED)
def test_anthropic_does_not_enforce(name):
    assert anthropic_schema(NOT_ENFORCED[name]) == (None, True)


def test_gemini_gets_the_keywords_that_it_knows():
    schema = {
        **of(a={"const": 3}, b={"type": "string", "pattern": "^x"}, c={"prefixItems": [{"const": 1}, True]}),
        "$defs": {"pattern": {"type": "string"}},
    }
    copy, lossy = gemini_schema(schema)
    assert lossy and copy["properties"] == {
        "a": {"enum": [3]},
        "b": {"type": "string"},
        "c": {"prefixItems": [{"enum": [1]}, True]},
    }
    assert copy["$defs"] == {"pattern": {"type": "string"}}, "a definition may be called like a keyword"
    assert gemini_schema({**of(a={"type": "string", "default": "x"}), "$schema": "y"})[1] is False


KEYWORDS = [
    "type",
    "properties",
    "items",
    "anyOf",
    "oneOf",
    "format",
    "$defs",
    "additionalProperties",
    "pattern",
]
SCHEMAS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.sampled_from(["object", "array", "string", "#/x"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*KEYWORDS, "$ref"]), SCHEMAS, max_size=5))
def test_no_schema_however_odd_stops_a_request(schema):
    """P11: people write schemas; the validator says what is wrong with them, not the wire."""
    copy, lossy = gemini_schema(schema)
    assert isinstance(copy, dict) and isinstance(lossy, bool)
    copy, lossy = anthropic_schema({**schema, "type": "object"})
    assert copy is not None or lossy
