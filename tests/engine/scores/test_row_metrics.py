"""Metrics of rows: what is expected of each, and what is said where nobody knows it."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.engine.scores.row_metrics import RowMetrics
from po_jupyter.errors import TemplateFailed
from po_jupyter.model.pipeline.evals.scores import Scorer
from po_jupyter.model.values.digests import short_digest


def measured(output: Any, item: Any, **scorer: Any) -> Any:
    metrics = RowMetrics("t", [Scorer.model_validate(scorer)], ["score"])
    return metrics.measure({"item": item, "index": 0, "seed": {}}, output)


@pytest.mark.parametrize(
    ("expect", "item", "value"),
    [
        ("{{ item.gold }}", {"gold": 1}, 1.0), ("item.gold", {"gold": "1"}, 1.0),
        ("{{ item.gold | upper }}", {"gold": "x"}, 0.0),
        ("{{ item.golds | map('int') }}", {"golds": ["1", "2"]}, 1.0), ("{{ item['a b'] }}", {"a b": 1}, 1.0),
        ("{{ item.gold if item.sure else none }}", {"gold": 1, "sure": False}, None), ("{{ 1 }}", None, 1.0),
    ],
)  # fmt: skip
def test_what_is_expected_is_a_value_of_its_own_type(expect: str, item: Any, value: float | None) -> None:
    assert measured(1, item, expect=expect)["values"] == {"exact": value}


@pytest.mark.parametrize(
    ("expect", "item", "note"),
    [("{{ item.gold.x }}", {}, "gold"), ("{{ item.gold }}", "text", "nothing is expected"),
     ("{{ 1 / item.n }}", {"n": 0}, "Zero")],
)  # fmt: skip
def test_an_expectation_that_cannot_be_made_is_a_note_on_the_row(expect: str, item: Any, note: str) -> None:
    scores = measured("bug", item, expect=expect)
    assert scores["values"] == {"exact": None} and note in scores["notes"]["exact"]


def test_a_field_that_the_answer_lacks_is_wrong() -> None:
    assert measured({"b": 1}, {"gold": 1}, expect="item.gold", on="a")["values"] == {"exact": 0.0}
    assert measured("text", {"gold": 1}, expect="item.gold", on="a")["values"] == {"exact": 0.0}


def test_the_only_field_of_an_answer_is_compared_with_a_value() -> None:
    """`{label: bug}` beside `bug` was wrong in each row: 0 of 269, and nothing said why."""
    score = {"expect": "item.gold", "metrics": ["exact", "accuracy"]}
    assert measured({"label": "bug"}, {"gold": "bug"}, **score)["values"] == {"exact": 1.0, "accuracy": 1.0}
    assert measured({"label": "bug"}, {"gold": "bug"}, **score)["classes"] == {"classes": ["bug", "bug"]}
    assert measured({"label": "bug"}, {"gold": ["x", "bug"]}, expect="item.gold")["values"] == {"exact": 1.0}
    assert measured({"label": "bug"}, {"gold": {"label": "bug"}}, expect="item.gold")["values"] == {
        "exact": 1.0
    }
    assert measured({"label": "bug"}, {"gold": '{"label": "bug"}'}, expect="item.gold")["values"] == {
        "exact": 1.0
    }


def test_an_object_of_several_fields_beside_a_value_is_not_scored_and_says_why() -> None:
    scores = measured(
        {"label": "bug", "why": "x"}, {"gold": "bug"}, expect="item.gold", metrics=["exact", "f1"]
    )
    assert scores["values"] == {"exact": None, "f1": None}
    assert "`on` names the field" in scores["notes"]["exact"]


def test_a_small_value_keeps_its_digits() -> None:
    assert measured(1.25e-11, {}, metrics=["value"])["values"] == {"value": 1.25e-11}
    assert measured(0.1 + 0.2, {}, metrics=["value"])["values"] == {"value": 0.3}


def test_classes_have_one_name_however_they_are_written() -> None:
    score = {"expect": "item.gold", "metrics": ["accuracy"]}
    assert measured(True, {"gold": "True"}, **score)["classes"] == {"classes": ["true", "true"]}
    assert measured("b", {"gold": ["a", "b"]}, **score)["classes"] == {"classes": ["b", "b"]}
    assert measured("c", {"gold": ["a", "b"]}, **score)["classes"] == {"classes": ["a", "c"]}
    assert measured(None, {"gold": "x" * 100}, **score)["classes"] == {
        "classes": ["x" * 73 + "…" + short_digest("x" * 100, 6), "(nothing)"]
    }
    assert "classes" not in measured("c", {}, **score)


@pytest.mark.parametrize(
    ("rows", "classes"),
    [
        ([("True", False), ("False", True), ("False", False)], {"true", "false"}),
        ([(True, "False"), (False, "no"), (False, "false")], {"true", "false", "no"}),
        ([("1.0", 2), ("2.0", 1), ("2.0", 2), ("1.0", 1)], {"1", "2"}),
        ([(1, "2.0"), (2, "2")], {"1", "2"}),
        ([("1.0", 12345678901234567890), ("12345678901234567890", 1)], {"1", "12345678901234567890"}),
        ([('{"a":1}', {"a": 2})], {'{"a": 1}', '{"a": 2}'}),
    ],
)  # fmt: skip
def test_wrong_answers_are_in_the_class_that_the_right_ones_are_in(rows: Any, classes: set[str]) -> None:
    """A gold column of texts from a CSV file beside answers that are true, false or numbers had each class twice, and
    a macro F1 of 0.33 in the place of 0.5."""
    score = {"expect": "item.gold", "metrics": ["accuracy"]}
    found = [measured(answer, {"gold": gold}, **score)["classes"]["classes"] for gold, answer in rows]
    assert {label for pair in found for label in pair} == classes


def test_an_expression_that_does_not_parse_is_refused() -> None:
    with pytest.raises(TemplateFailed):
        RowMetrics("t", [Scorer(expect="{{ item. }}")], ["score"])


@pytest.mark.parametrize("text_filter", ["trim | lower", "upper", "title", "capitalize", "string"])
def test_a_row_without_a_label_has_none_after_a_filter_of_texts_either(text_filter: str) -> None:
    expect = "{{ item.gold | " + text_filter + " }}"
    assert measured("none", {"gold": None}, expect=expect)["values"] == {"exact": None}
    kept = "{{ 'none' if item.gold is none else item.gold | lower }}"
    assert measured("none", {"gold": None}, expect=kept)["values"] == {"exact": 1.0}
    assert measured("bug", {"gold": " Bug "}, expect="{{ item.gold | trim | lower }}")["values"] == {
        "exact": 1.0
    }


def test_two_long_answers_with_one_beginning_are_two_classes() -> None:
    gold, answer = "x" * 90 + "a", "x" * 90 + "b"
    expected, answered = measured(answer, {"gold": gold}, expect="item.gold", metrics=["accuracy"])["classes"][
        "classes"
    ]
    assert expected != answered
