"""Expectations held against answers: what holds is silent, what fails says what was expected and what came."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.prompt_tests.cases import Expectation
from po_jupyter.prompt_tests.expectations import AnswerRow, failures_of


def rows(*outputs: Any) -> list[AnswerRow]:
    return [
        AnswerRow(i, True, output, "", {"exact": i / 10}, {"gold": "bug"}) for i, output in enumerate(outputs)
    ]


def failures(expectation: dict[str, Any], answers: list[AnswerRow]) -> list[str]:
    return list(failures_of(Expectation.model_validate(expectation), "label", answers))


ANSWER = {"label": "bug", "tags": ["a", "b"], "confidence": 0.9, "why": None}


@pytest.mark.parametrize(
    "expectation",
    [
        {"equals": ANSWER},
        {"equals": {**dict(reversed(ANSWER.items()))}},
        {"path": "label", "equals": "bug"},
        {"path": "$.label", "equals": "bug"},
        {"path": "$.tags[*]", "regex": "^[ab]$"},
        {"path": "tags[0]", "equals": "a"},
        {"path": "why", "equals": None},
        {"path": "label", "contains": ["b", "ug"], "not_contains": "x"},
        {"contains": '"label":"bug"'},
        {"path": "confidence", "at_least": 0.9, "at_most": 0.9},
        {"path": "label", "equals_field": "gold"},
        {"path": "$", "schema": {"type": "object", "required": ["label"]}},
        {"row": 0, "path": "label", "equals": "bug"},
        {"score": "exact", "at_least": 0, "row": 0},
    ],
)
def test_what_is_as_expected_is_silent(expectation: dict[str, Any]) -> None:
    assert failures(expectation, rows(ANSWER)) == []


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        ({"path": "label", "equals": "question"}, 'label, row 0, $[\'label\']: expected "question", got "bug"'),
        ({"path": "label", "equals": None}, 'expected null, got "bug"'),
        ({"path": "confidence", "equals": "0.9"}, 'expected "0.9", got 0.9'),
        ({"path": "lable", "equals": 1}, "the path finds nothing in"),
        ({"path": "label", "contains": "x"}, 'expected it to contain "x"'),
        ({"path": "label", "not_contains": "bu"}, 'expected it not to contain "bu"'),
        ({"path": "label", "regex": "^x"}, 'expected it to match "^x"'),
        ({"schema": {"required": ["nothing"]}}, "does not fit the schema"),
        ({"path": "confidence", "at_least": 0.95}, "expected at least 0.95, got 0.9"),
        ({"path": "label", "at_most": 1}, "expected a number, at most 1"),
        ({"path": "label", "equals_field": "golden"}, "has no field 'golden'"),
        ({"row": 7, "equals": 1}, "there is no row 7"),
        ({"score": "f1", "at_least": 1}, "has no score 'f1'"),
        ({"score": "exact", "at_least": 1}, "score exact: expected at least 1, got 0"),
        ({"error_contains": "x"}, 'expected an error with "x"'),
    ],
)
def test_what_is_not_says_what_came(expectation: dict[str, Any], message: str) -> None:
    (failure,) = failures(expectation, rows(ANSWER))
    assert message in failure


def test_a_share_of_the_rows_may_be_enough() -> None:
    answers = rows("bug", "bug", "bug", "question")
    assert failures({"equals": "bug", "share": 0.75}, answers) == []
    first, *others = failures({"equals_field": "gold", "share": 0.8}, answers)
    assert first == "label: 3 of 4 rows hold (0.75), expected 0.8"
    assert len(others) == 1
    assert len(failures({"equals": "x"}, answers)) == 4


def test_a_row_that_failed_is_a_failure_and_may_be_expected() -> None:
    failed = [AnswerRow(0, False, None, "the model refused", {}, {})]
    assert failures({"contains": "x"}, failed) == ["label, row 0: failed: the model refused"]
    assert failures({"error_contains": "refused"}, failed) == []
    assert failures({"equals": 1}, []) == ["label: has no rows"]


def test_the_root_of_a_text_is_the_text() -> None:
    """The path found nothing."""
    assert failures({"path": "$", "contains": "bu"}, rows("bug")) == []
    assert failures({"path": "$", "equals": 1}, rows("1")) != []


def test_a_number_of_any_size_is_held_against_its_bounds() -> None:
    (low,) = failures({"at_most": 5}, rows(10**400))
    assert low.startswith("label, row 0: expected at most 5, got 1000")
    assert failures({"at_least": 5}, rows(10**400)) == []


def test_a_whole_number_is_the_same_with_a_point_and_without() -> None:
    assert failures({"equals": 1}, rows(1.0)) == []
    assert failures({"equals": {"a": [1.0]}}, rows({"a": [1]})) == []
    assert failures({"equals": 1}, rows(True)) != [] and failures({"equals": 1}, rows("1")) != []


def test_a_pattern_that_would_take_for_ever_is_given_up() -> None:
    (failure,) = failures({"regex": "^(a|aa)+$"}, rows("a" * 60 + "b"))
    assert "given up" in failure
