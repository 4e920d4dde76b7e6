"""Example values fit their schema."""

import pytest

from po_jupyter.llm.structured.example_value import example_value
from po_jupyter.llm.structured.parsing import AnswerValidator

SCHEMA = {
    "type": "object",
    "required": ["label", "score"],
    "additionalProperties": False,
    "properties": {"label": {"enum": ["bug", "praise"]}, "score": {"type": "integer", "minimum": 1}},
}


@pytest.mark.parametrize(
    "schema",
    [
        SCHEMA,
        {"$ref": "#/$defs/x", "$defs": {"x": {"type": "object", "required": ["a"]}}},
        {"type": "array", "minItems": 3, "items": {"type": "number", "exclusiveMinimum": 2}},
        {"type": ["null", "string"], "minLength": 9, "maxLength": 12},
        {"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"type": "boolean"}}}]},
        {"oneOf": [{"type": "integer", "maximum": -4}, {"type": "string"}]},
        {"type": "integer", "multipleOf": 5, "exclusiveMaximum": -3},
    ],
    ids=range(7),
)
def test_samples_fit_their_schema(schema):
    assert AnswerValidator(schema).violations(example_value(schema)) == []


def test_what_the_schema_says_of_values_comes_first():
    assert example_value({"const": 3}) == 3 and example_value({"default": "d"}) == "d"
    assert example_value({"enum": ["a", "b"]}) == "a" and example_value({"type": "boolean"}) is True
    assert example_value({"type": "string", "minLength": 6}, text="ab") == "ab...."
    assert example_value(True) == {} and example_value({"type": "object", "required": ["x"]}) == {"x": "text"}


def test_a_schema_that_refers_to_itself_ends():
    schema = {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"properties": {"next": {"$ref": "#"}}}}}
    value = example_value(schema)
    depth = 0
    while isinstance(value, dict):
        value, depth = value.get("next"), depth + 1
    assert value is None and 4 < depth < 20
