"""Patterns of schemas: found, refused when they cannot be used, and given up when they take too long."""

from __future__ import annotations

import time

import pytest

from po_jupyter.errors import InvalidInput, InvalidPipeline
from po_jupyter.model.pipeline import patterns
from po_jupyter.model.pipeline.answer_schema import answer_schema_of
from po_jupyter.model.pipeline.parsing import validate_pipeline

ENDLESS, TEXT = "^(a|aa)+$", "a" * 80 + "!"


@pytest.mark.integration
def test_a_pattern_that_backtracks_without_end_is_given_up() -> None:
    with pytest.raises(patterns.PatternOverrun) as caught:
        patterns.matches(ENDLESS, TEXT)
    assert (caught.value.pattern, caught.value.text) == (ENDLESS, TEXT)
    assert patterns.matches(ENDLESS, "aaa")


@pytest.mark.integration
def test_the_matches_of_one_answer_share_one_limit() -> None:
    began = time.process_time()
    with patterns.one_answer():
        for _ in range(50):
            with pytest.raises(patterns.PatternOverrun):
                patterns.matches(ENDLESS, TEXT)
    assert time.process_time() - began < 5 * patterns.SECONDS


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "x"},
        {"type": "object", "patternProperties": {"x": {}}},
        {"anyOf": [{"items": {"pattern": "x"}}]},
        {"$defs": {"a": {"properties": {"b": {"not": {"pattern": "x"}}}}}},
    ],
)
def test_patterns_are_found_wherever_they_are(schema: object) -> None:
    assert list(patterns.patterns_of(schema)) == ["x"]


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"pattern": {"type": "string"}}},
        {"const": {"pattern": "("}},
        {"enum": [{"pattern": "("}]},
    ],
)
def test_what_only_has_the_name_is_no_pattern(schema: object) -> None:
    assert patterns.pattern_problem(schema) is None


@pytest.mark.parametrize("pattern", ["(", "a{1000000}", "((a{1000}){1000}){1000}", "(" * 3000 + ")" * 3000])
def test_a_pattern_that_cannot_be_used_is_refused_before_anything_is_sent(pattern: str) -> None:
    """It failed after the answer was paid for, each time anew."""
    schema = {"type": "string", "pattern": pattern}
    with pytest.raises(InvalidPipeline, match="pattern"):
        validate_pipeline({"name": "p", "tasks": [{"name": "a", "prompt": "x", "output": schema}]})
    with pytest.raises(InvalidInput, match="pattern"):
        answer_schema_of(schema)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^\d{4}-\d{2}-\d{2}$",
        r"^[\w.+-]+@[\w-]+\.[\w.]+$",
        r"^\p{L}+$",
        r"^(?:[0-9a-f]{8}-){3}[0-9a-f]{12}$",
        r"^#?[A-F]\/x$",
    ],
)
def test_patterns_of_every_day_are_taken(pattern: str) -> None:
    assert patterns.pattern_problem({"pattern": pattern}) is None
