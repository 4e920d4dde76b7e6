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


def test_classes_have_one_name_however_they_are_written() -> None:
    score = {"expect": "item.gold", "metrics": ["accuracy"]}
    assert measured(True, {"gold": "True"}, **score)["classes"] == {"classes": ["True", "True"]}
    assert measured("b", {"gold": ["a", "b"]}, **score)["classes"] == {"classes": ["b", "b"]}
    assert measured("c", {"gold": ["a", "b"]}, **score)["classes"] == {"classes": ["a", "c"]}
    assert measured(None, {"gold": "x" * 100}, **score)["classes"] == {
        "classes": ["x" * 73 + "…" + short_digest("x" * 100, 6), "(nothing)"]
    }
    assert "classes" not in measured("c", {}, **score)


def test_an_expression_that_does_not_parse_is_refused() -> None:
    with pytest.raises(TemplateFailed):
        RowMetrics("t", [Scorer(expect="{{ item. }}")], ["score"])


def test_two_long_answers_with_one_beginning_are_two_classes() -> None:
    gold, answer = "x" * 90 + "a", "x" * 90 + "b"
    expected, answered = measured(answer, {"gold": gold}, expect="item.gold", metrics=["accuracy"])["classes"][
        "classes"
    ]
    assert expected != answered
