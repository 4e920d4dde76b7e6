"""Schemas for people: deduced from values, and in a line."""

from __future__ import annotations

import time
from typing import Any

import pytest

from po_jupyter.engine.planning.schema_text import schema_line, schema_of
from po_jupyter.model.values.lazy_list import LazyList


class Numbers(LazyList):
    """Rows that count how often they are read."""

    def __init__(self, size: int) -> None:
        self.size, self.reads = size, 0

    def __len__(self) -> int:
        return self.size

    def read(self, index: int) -> Any:
        self.reads += 1
        return {"n": index}


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"text": "x", "n": 1}, "{text: text, n: integer}"),
        ({"rows": [{"a": 1}, {"a": 1.5, "b": None}]}, "{rows: [{a: number, b?: null}]}"),
        ({"rows": [{"a": 1}, {"a": "x"}]}, "{rows: [{a: integer | text}]}"),
        ({"rows": []}, "{rows: list}"),
        ({"rows": ["a", 1, True]}, "{rows: [true/false | integer | text]}"),
        ({"a": {"b": {"c": {"d": 1}}}}, "{a: {b: {c: {…}}}}"),
        ({}, "object"),
    ],
)
def test_of_values(value: object, line: str) -> None:
    assert schema_line(schema_of(value)) == line


def test_a_long_list_is_sampled_over_its_length() -> None:
    """100,000 rows in a file are not read for it."""
    rows = Numbers(100_000)
    assert schema_line(schema_of({"rows": rows})) == "{rows: [{n: integer}]}"
    assert rows.reads <= 100
    late: list[dict[str, object]] = [{"a": 1}] * 5000 + [{"a": None}] * 5000
    assert schema_line(schema_of({"rows": late})) == "{rows: [{a: integer | null}]}"


def test_values_of_any_depth_and_width() -> None:
    deep: Any = 1
    for _ in range(500):
        deep = {"a": [deep]}
    assert len(schema_line(schema_of(deep))) < 100
    wide = {f"field {n}": n for n in range(10_000)}
    assert schema_line(schema_of(wide)).endswith("…}")


@pytest.mark.parametrize(
    ("schema", "line"),
    [
        (None, "any"),
        (True, "any"),
        ({}, "any"),
        ({"const": "x"}, '"x"'),
        ({"enum": ["a", "b", "c", "d", "e"]}, '"a" | "b" | "c" | "d" | …'),
        ({"type": ["string", "null"]}, "text | null"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text | null"),
        ({"properties": {"a": {"type": "boolean"}}, "required": ["a"]}, "{a: true/false}"),
        ({"items": {"type": "number"}}, "[number]"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"type": "integer"}}}, "integer"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, "…"),
        ({"$ref": "#/$defs/nobody"}, "any"),
        ({"enum": ["x" * 100]}, '"' + "x" * 38 + "…"),
    ],
)
def test_of_schemas(schema: Any, line: str) -> None:
    assert schema_line(schema) == line


def test_a_line_is_bounded() -> None:
    fields = {("name" * 20) + str(n): {"type": "string"} for n in range(12)}
    assert len(schema_line({"type": "object", "properties": fields})) == 400


def nested(form: str, times: int) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(times):
        schema = {form: [schema]}
    return schema


def circle(schema: Any) -> Any:
    return {"$ref": "#/$defs/A", "$defs": {"A": schema}}


@pytest.mark.parametrize(
    "schema",
    [
        nested("anyOf", 3000),
        circle({"anyOf": [{"$ref": "#/$defs/A", "title": str(n)} for n in range(200)]}),
        circle({"properties": {str(n): {"$ref": "#/$defs/A"} for n in range(200)}}),
        {"type": ["object"] * 200, "properties": {"a": {"type": ["object"] * 200, "properties": {"a": {}}}}},
        {"$ref": "#/a", "$defs": ["a"]},
        {"properties": {"a": {}}, "required": 3},
        {"const": [nested("a", 3000)]},
        {"type": [["x"] * 100_000]},
    ],
    ids=["deep", "circle", "wide circle", "types", "definitions", "required", "const", "type"],
)
def test_a_schema_that_means_harm_takes_no_time(schema: Any) -> None:
    """What a person pasted, or a model wrote: the analysis of a pipeline has to come to an end."""
    began = time.process_time()
    assert 0 < len(schema_line(schema)) <= 400
    assert time.process_time() - began < 1
