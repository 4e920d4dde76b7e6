"""The kinds of JSON that a schema asks for."""

import pytest

from po_jupyter.llm.structured.schema_kinds import kinds_of


@pytest.mark.parametrize(
    ("schema", "kinds"),
    [
        ({}, set()),
        ({"type": "string"}, {"string"}),
        ({"type": ["object", "null"]}, {"object", "null"}),
        ({"enum": [1, "a", None, True, 1.5]}, {"integer", "string", "null", "boolean", "number"}),
        ({"const": []}, {"array"}),
        ({"properties": {}}, {"object"}),
        ({"items": {}}, {"array"}),
        (
            {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "array"}}},
            {"string", "array"},
        ),
        ({"$ref": "#"}, set()),
    ],
)
def test_the_kinds_of_a_schema(schema, kinds):
    assert kinds_of(schema, schema) == kinds
