"""The quick judge of answers: it agrees with jsonschema wherever it has a word, and is silent where it has none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from po_jupyter.llm.structured.parsing import AnswerValidator
from po_jupyter.llm.structured.quick_judge import quick_judge

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.0, 1.0, 1.5, 1e300]),
    st.sampled_from("abc"),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "null", "object", "array"])


def _objects(inner):
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "enum": st.lists(st.none() | st.sampled_from("abc"), min_size=1, max_size=3, unique=True),
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            "required": st.lists(st.sampled_from("abc"), max_size=2, unique=True),
            "additionalProperties": st.booleans(),
            "items": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "minimum": st.integers(-2, 2),
            "maximum": st.sampled_from([0, 1.5, 2]),
            "title": st.just("t"),
        },
    )


SCHEMAS = st.recursive(_objects(st.just({})), _objects, max_leaves=5)


@given(SCHEMAS, VALUES)
@settings(max_examples=300, deadline=None)
def test_it_says_of_every_value_what_jsonschema_says(schema, value):
    judge = quick_judge(schema)
    assert judge is not None
    assert judge(value) is Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "a"},
        {"type": "string", "format": "date"},
        {"$ref": "#/$defs/a", "$defs": {"a": {}}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "type": "string"},
        {"enum": [1, "a"]},
        {"enum": [True]},
        {"additionalProperties": {"type": "string"}},
        {"properties": {"a": {"items": {"uniqueItems": True}}}},
        {"anyOf": [{"type": "null"}, {"minLength": 1}]},
        {"type": "integer", "minimum": "1"},
        True,
    ],
)
def test_of_any_other_keyword_it_says_nothing(schema):
    assert quick_judge(schema) is None


def test_deep_schemas_are_left_to_jsonschema():
    schema = {"type": "integer"}
    for _ in range(50):
        schema = {"items": schema}
    assert quick_judge(schema) is None


def test_what_does_not_fit_is_said_in_the_same_words():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    validator = AnswerValidator(schema)
    assert validator.violations({"a": 1.0}) == []
    assert validator.violations({"a": "x"}) == ['answer.a is "x", not a whole number']
    assert validator.violations({}) == ['answer has no "a"']


def test_the_check_of_a_class_comes_after_the_schema():
    validator = AnswerValidator({"type": "integer"}).with_check(
        lambda value: [f"{value} is odd"] if value % 2 else []
    )
    assert (validator.violations(2), validator.violations(3)) == ([], ["3 is odd"])
    assert validator.violations("x") != []
