"""C4: every keyword that matches a pattern gives up, in every draft, and nobody else's jsonschema changes."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from po_jupyter.llm.structured.parsing import AnswerValidator
from po_jupyter.model.pipeline import patterns

pytestmark = pytest.mark.integration  # patterns are given up after their time: it takes seconds

ENDLESS, TEXT = "^(a|aa)+$", "a" * 80 + "!"
DRAFTS = [
    "https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema#", "http://json-schema.org/draft-04/schema#",
]  # fmt: skip
SCHEMAS: list[tuple[dict[str, Any], Any]] = [
    ({"pattern": ENDLESS}, TEXT),
    ({"not": {"pattern": ENDLESS}}, TEXT),
    ({"patternProperties": {ENDLESS: {}}}, {TEXT: 1}),
    ({"additionalProperties": False, "patternProperties": {ENDLESS: {}}}, {TEXT: 1}),
]
NEWER: list[tuple[dict[str, Any], Any]] = [
    ({"propertyNames": {"pattern": ENDLESS}}, {TEXT: 1}),
    ({"unevaluatedProperties": False, "allOf": [{"patternProperties": {ENDLESS: {}}}]}, {TEXT: 1}),
]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.05)


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize(("schema", "value"), SCHEMAS)
def test_a_pattern_that_takes_too_long_counts_as_one_that_does_not_match(
    draft: str, schema: dict[str, Any], value: Any
) -> None:
    [violation] = AnswerValidator({"$schema": draft, **schema}).violations(value)
    assert "does not match the pattern" in violation and "given up after" in violation


@pytest.mark.parametrize("draft", DRAFTS[:2])
@pytest.mark.parametrize(("schema", "value"), NEWER)
def test_keywords_of_newer_drafts_too(draft: str, schema: dict[str, Any], value: Any) -> None:
    [violation] = AnswerValidator({"$schema": draft, **schema}).violations(value)
    assert "given up after" in violation


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize(
    ("inner", "value"),
    [
        ({"properties": {"x": {"pattern": ENDLESS}}}, {"x": TEXT}),
        ({"properties": {"x": {"$ref": "#"}, "v": {"pattern": ENDLESS}}}, {"x": {"v": TEXT}}),
        ({"properties": {"x": {"$schema": DRAFTS[0], "pattern": ENDLESS}}}, {"x": TEXT}),
        ({"properties": {"x": {"$schema": DRAFTS[2], "pattern": ENDLESS}}}, {"x": TEXT}),
    ],
)
def test_a_part_of_the_schema_that_names_its_draft_gives_up_too(
    draft: str, inner: dict[str, Any], value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`re` would hold the whole worker for years."""
    from jsonschema import _keywords

    monkeypatch.setattr(_keywords.re, "search", lambda *_: pytest.fail("matched without a time limit"))
    [violation] = AnswerValidator({"$schema": draft, **inner}).violations(value)
    assert "given up after" in violation


def test_an_answer_of_many_such_texts_takes_no_longer() -> None:
    validator = AnswerValidator({"type": "array", "items": {"pattern": ENDLESS}})
    assert "given up" in validator.read(json.dumps([TEXT] * 200))[1][0]


def test_patterns_judge_as_ever() -> None:
    validator = AnswerValidator({
        "type": "object",
        "properties": {"a": {"type": "string", "pattern": "^[a-z]+$"}},
        "patternProperties": {"^x-": {"type": "integer"}},
        "additionalProperties": False,
    })  # fmt: skip
    assert validator.violations({"a": "abc", "x-1": 2}) == []
    assert validator.violations({"a": "ABC"}) == ["answer.a does not match the pattern ^[a-z]+$"]
    assert validator.violations({"x-1": "two"}) == ['answer.x-1 is "two", not a whole number']
    assert validator.violations({"b": 1}) == ['answer must not have "b"']


def test_jsonschema_itself_is_left_alone() -> None:
    AnswerValidator({"pattern": "x"})
    from jsonschema import _keywords, _utils

    assert (_keywords.re, _utils.re) == (re, re)
    assert AnswerValidator({"type": "string"}).may_be_slow is False
    assert jsonschema.Draft202012Validator.VALIDATORS["pattern"] is _keywords.pattern
