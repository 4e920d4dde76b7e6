"""The scores of many rows as one: what is missing is counted, and intervals are never nothing wide."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import pytest

from po_jupyter.evals.intervals import wilson
from po_jupyter.evals.summary import FAILED, NOT_SCORED, ScoreSummary
from po_jupyter.model.pipeline.evals.scores import ScoreColumn, Scorer, score_columns
from po_jupyter.model.run.scores import RowScores


def columns(*scorers: dict[str, Any]) -> list[ScoreColumn]:
    return score_columns(tuple(Scorer.model_validate(scorer) for scorer in scorers))


EXACT = columns({"expect": "x"})
F1 = columns({"expect": "x", "metrics": ["f1"]})
JUDGED = columns({"judge": "x", "scale": [1, 5]})


def summary(specs: list[ScoreColumn], values: list[float | None], **more: Any) -> ScoreSummary:
    made = ScoreSummary(specs, **more)
    for i, value in enumerate(values):
        scores: RowScores = {"values": {specs[0].name: value}}
        if value is None:
            scores["notes"] = {specs[0].name: "nothing is expected of this row"}
        made.add(i, scores)
    return made


def test_forty_of_fifty_right() -> None:
    (score,) = summary(EXACT, [1.0] * 40 + [0.0] * 10).result("t")["scores"]
    assert (score["mean"], score["scored"], score["right"], score["method"]) == (0.8, 50, 40, "wilson")
    assert score["interval"] == pytest.approx(wilson(40, 50))


def test_what_is_missing_is_counted_by_its_reason() -> None:
    made = summary(EXACT, [1.0, None, None, 0.0])
    made.add(4, None)
    made.add_failed()
    result = made.result("t")
    (score,) = result["scores"]
    assert (result["rows"], result["failed"], score["scored"], score["mean"]) == (6, 1, 2, 0.5)
    assert score["missing"] == {"nothing is expected of this row": 2, NOT_SCORED: 1, FAILED: 1}


def test_no_row_is_no_mean() -> None:
    (score,) = ScoreSummary(EXACT).result("t")["scores"]
    assert (score["mean"], score["interval"], score["scored"]) == (None, None, 0)


@pytest.mark.parametrize("specs", [EXACT, F1])
@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("n", [1, 10])
def test_all_right_and_all_wrong_have_an_interval_with_a_width(specs: Any, value: float, n: int) -> None:
    (score,) = summary(specs, [value] * n).result("t")["scores"]
    assert score["interval"] == pytest.approx(wilson(value * n, n))


def test_alike_values_between_the_bounds_have_a_width_too() -> None:
    (score,) = summary(JUDGED, [5.0] * 10).result("t")["scores"]
    assert score["mean"] == 5.0 and score["interval"] is not None
    assert score["interval"][0] < 4.0 and score["interval"][1] == 5.0 and "right" not in score
    (ones,) = summary(JUDGED, [1.0] * 10).result("t")["scores"]
    assert ones["mean"] == 1.0 and "right" not in ones


def test_means_have_students_interval_within_the_bounds() -> None:
    (score,) = summary(F1, [0.5, 1.0, 0.9, 1.0]).result("t")["scores"]
    assert score["method"] == "t" and score["interval"] is not None
    assert score["interval"][0] == pytest.approx(0.85 - 3.18244630528371 * 0.11902380714238083)
    assert score["interval"][1] == 1.0


def test_a_number_without_bounds() -> None:
    specs = columns({"metrics": "value"})
    (score,) = summary(specs, [3.0, 5.0]).result("t")["scores"]
    assert score["method"] == "t" and score["mean"] == 4.0
    (alike,) = summary(specs, [3.0, 3.0]).result("t")["scores"]
    assert alike["interval"] is None
    (shares,) = summary(specs, [1.0, 0.0]).result("t")["scores"]
    assert shares["method"] == "wilson"


def test_classes_have_a_matrix_and_macro_f1() -> None:
    specs = columns({"expect": "x", "metrics": ["accuracy", "macro_f1", "confusion"]})
    made = ScoreSummary(specs)
    for i, (expected, answered) in enumerate([("a", "a"), ("a", "b"), ("b", "b")]):
        value = float(expected == answered)
        made.add(i, {
            "values": dict.fromkeys(["accuracy", "macro_f1", "confusion"], value),
            "classes": {"classes": [expected, answered]},
        })  # fmt: skip
    result = made.result("t")
    assert [score["name"] for score in result["scores"]] == ["accuracy", "macro_f1"]
    assert result["scores"][1]["mean"] == pytest.approx(2 / 3) and result["scores"][1]["method"] == "bootstrap"
    assert result["confusion"][0]["counts"] == [[1, 1], [0, 1]]


def test_the_worst_rows_come_first_and_right_ones_not_at_all() -> None:
    made = summary(F1, [1.0, 0.5, 0.0, 0.75, 0.0, 1.0], worst=3)
    assert [index for index, _ in made.worst] == [2, 4, 1]


@pytest.mark.parametrize(
    ("values", "worst"),
    [([20.0, 90.0, 50.0, 30.0], [0, 3]), ([1.0, 0.0, 1.0], [1]), ([1.0, 1.0], []), ([0.5, 3.0, 1.0], [0, 2])],
)
def test_a_score_without_bounds_has_its_lowest_rows(values: list[float | None], worst: list[int]) -> None:
    """There were none where no value was below 1."""
    assert [index for index, _ in summary(columns({"metrics": ["value"]}), values, worst=2).worst] == worst


def test_small_values_keep_their_digits() -> None:
    (score,) = summary(columns({"metrics": ["value"]}), [1e-13, 3e-13]).result("t")["scores"]
    assert score["mean"] == pytest.approx(2e-13)


def test_many_rows_take_seconds_and_no_room() -> None:
    """4,000 rows more take no more memory, so nothing of a row is kept; 50,000 take a second or two."""
    made = ScoreSummary(columns({"expect": "x", "metrics": ["exact", "f1", "accuracy", "macro_f1"]}))

    def add(rows: range) -> None:
        for i in rows:
            value = float(i % 3 > 0)
            made.add(i, {
                "values": {"exact": value, "f1": value, "accuracy": value, "macro_f1": value},
                "classes": {"classes": [f"c{i % 5}", f"c{i % 3}"]}, "notes": {},
            })  # fmt: skip

    add(range(1_000))
    tracemalloc.start()
    add(range(1_000, 5_000))
    more, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    began = time.process_time()
    add(range(5_000, 50_000))
    result, seconds = made.result("t"), time.process_time() - began
    assert result["rows"] == 50_000 and seconds < 10
    assert more < 16_000, "less than 4 bytes of each row"


@pytest.mark.parametrize(
    "values", [[1e200, -1e200], [1e308, 1e308, -1e308], [1.7e308, -1.7e308], [-1.7e308] * 3]
)
def test_numbers_of_any_size_have_a_summary_that_is_json(values: list[float]) -> None:
    specs = columns({"metrics": ["value"]}, {"name": "b", "metrics": ["value"]})
    made = ScoreSummary(specs)
    for i, value in enumerate(values):
        made.add(i, {"values": {spec.name: value for spec in specs}})
    json.dumps(made.result("t"), allow_nan=False)
    assert all(row <= len(values) for row, _ in made.worst)
