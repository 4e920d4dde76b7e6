"""A score of two sides of the same rows."""

from __future__ import annotations

from typing import Any

from po_jupyter.evals.paired import paired_score
from po_jupyter.model.pipeline.evals.scores import ScoreColumn

MEAN: Any = {"name": "exact", "mean": 0.5, "interval": None}


def test_the_rows_that_only_one_has_right_are_counted_and_tested() -> None:
    values = [(1.0, 1.0)] * 40 + [(1.0, 0.0)] * 1 + [(0.0, 1.0)] * 6 + [(0.0, 0.0)] * 3 + [(None, 1.0)] * 2
    paired = paired_score(ScoreColumn("exact", 0, "exact", 0.0, 1.0), MEAN, MEAN, values)
    assert [paired[key] for key in ("rows", "both", "a_only", "b_only", "neither")] == [50, 40, 1, 6, 3]  # type: ignore[literal-required]
    assert (paired["p"], paired["method"]) == (0.125, "exact")


def test_a_score_that_is_not_right_or_wrong_has_no_p() -> None:
    for column, values in (
        (ScoreColumn("judge", 0, "judge", 1, 5), [(1.0, 1.0)]),
        (ScoreColumn("f1", 0, "f1", 0.0, 1.0), [(0.5, 1.0), (1.0, 0.0)]),
        (ScoreColumn("exact", 0, "exact", 0.0, 1.0), [(None, 1.0)]),
    ):
        assert paired_score(column, MEAN, MEAN, values)["p"] is None
