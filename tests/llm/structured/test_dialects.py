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
    with_turn,
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
    "an object without properties": {"type": "object"},
    "free keys": {**of(a={"type": "string"}), "additionalProperties": {"type": "number"}},
    "a list of anything": of(a={"type": "array"}),
    "true as a schema": of(a=True),
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


NODE = of(name={"type": "string"}, children={"type": "array", "items": {"$ref": "#/$defs/Node"}})
LIKE_THE_SDK = {
    "a list": {"type": "array", "items": {"type": "string"}},
    "a text": {"type": "string", "format": "date"},
    "one of some words": {"type": "string", "enum": ["bug", "praise"]},
    "alternatives": {"anyOf": [of(a={"type": "string"}), {"type": "null"}]},
    "a root that refers": {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}},
    "recursion below": {**of(top={"$ref": "#/$defs/Node"}), "$defs": {"Node": NODE}},
    "a list of references": {
        "type": "array",
        "items": {"$ref": "#/$defs/x"},
        "$defs": {"x": {"type": "integer"}},
    },
    "words in a property": of(a={"type": "string", "enum": ["x"], "description": "d"}, b={"const": 3}),
}


@pytest.mark.parametrize("name", LIKE_THE_SDK)
def test_anthropic_enforces_roots_and_recursion_as_its_own_sdk_does(name):
    from anthropic import transform_schema

    schema = LIKE_THE_SDK[name]
    assert anthropic_schema(schema) == (transform_schema(schema), False)


def test_a_list_of_types_becomes_alternatives_and_old_definitions_move():
    schema = {
        **of(
            a={"type": ["string", "null"], "format": "date", "description": "d"}, b={"$ref": "#/definitions/x"}
        ),
        "definitions": {"x": {"type": "integer"}},
    }
    copy, lossy = anthropic_schema(schema)
    assert not lossy and copy["$defs"] == {"x": {"type": "integer"}}
    branches = [{"type": "string", "format": "date"}, {"type": "null"}]
    assert copy["properties"] == {"a": {"description": "d", "anyOf": branches}, "b": {"$ref": "#/$defs/x"}}
    assert gemini_schema(schema)[0]["properties"]["b"] == {"$ref": "#/$defs/x"}


def test_geminis_references_have_no_siblings_and_what_stood_there_is_not_lost():
    label = {"type": "string", "enum": ["bug", "praise"]}
    schema = {
        **of(
            label={"$ref": "#/$defs/Label", "description": "what it is", "default": "bug"},
            top={"$ref": "#/$defs/Node", "description": "the first"},
            plain={"$ref": "#/$defs/Node", "default": None},
        ),
        "$defs": {"Label": label, "Node": NODE},
    }
    copy, lossy = gemini_schema(schema)
    assert copy["properties"] == {
        "label": {**label, "description": "what it is"},
        "top": {"$ref": "#/$defs/Node"},
        "plain": {"$ref": "#/$defs/Node"},
    }
    assert lossy, "the description of the second goes as text"
    del schema["properties"]["top"]
    assert gemini_schema(schema)[1] is False


def test_a_conversation_of_system_messages_has_a_turn():
    rule, question = Message("system", "Be short."), Message("system", "Why?")
    assert with_turn((rule, question)) == (rule, Message("user", "Why?"))
    assert with_turn((question,)) == (Message("user", "Why?"),)
    both = (rule, Message("user", "hi"))
    assert with_turn(both) is both and with_turn(()) == ()


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
