"""The plot of scores is a picture of one size, whatever there is to draw."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.errors import PoError
from po_jupyter.evals.summary import ScoreSummary
from po_jupyter.model.pipeline.evals.scores import Scorer, score_columns
from po_jupyter.presentation.score_plot import ScorePlot, score_figure

pytestmark = (
    pytest.mark.integration
)  # in a home that has no list of fonts matplotlib starts a program that knows them


def summary(values: list[float], **scorer: Any) -> Any:
    made = ScoreSummary(score_columns((Scorer.model_validate(scorer),)))
    for i, value in enumerate(values):
        made.add(i, {"values": dict.fromkeys(["accuracy", "confusion", "judge", "value"], value),
                     "classes": {"classes": [f"class {i % 4}", f"class {i % 3}"]}})  # fmt: skip
    return made.result("label")


@pytest.mark.parametrize(
    ("scorer", "areas"),
    [({"expect": "x", "metrics": ["accuracy", "confusion"]}, 2), ({"judge": "x", "scale": [1, 5]}, 1),
     ({"metrics": ["value"]}, 1), ({"expect": "x", "metrics": ["confusion"]}, 1)],
)  # fmt: skip
def test_means_and_matrices_have_an_area_each(scorer: dict[str, Any], areas: int) -> None:
    figure = score_figure(summary([1.0, 0.0, 1.0, 1.0], **scorer))
    assert len(figure.axes) == areas
    assert ScorePlot(figure)._repr_png_().startswith(b"\x89PNG")


def test_without_a_score_there_is_no_plot() -> None:
    with pytest.raises(PoError, match="no score to plot"):
        score_figure(summary([], expect="x"))


def test_dollar_signs_in_labels_are_no_formula() -> None:
    """A class is what a model wrote: `$5 to $10` lost its signs, and an unfinished formula was an error in the cell."""
    labels = ["$5 to $10", "$\\frac{$", "$$"]
    table: Any = {
        "name": "$\\frac{$",
        "labels": labels,
        "counts": [[1, 0, 0], [0, 1, 1], [0, 0, 2]],
        "classes": [],
    }
    mean: Any = {
        "name": "$\\sqrt{$",
        "metric": "exact",
        "scored": 4,
        "mean": 0.5,
        "interval": [0.1, 0.9],
        "method": "wilson",
        "low": 0.0,
        "high": 1.0,
        "missing": {},
    }
    scores: Any = {
        "task": "$\\frac{$",
        "rows": 4,
        "failed": 0,
        "confidence": 0.95,
        "scores": [mean],
        "confusion": [table],
        "worst": [],
    }
    figure = score_figure(scores)
    assert ScorePlot(figure)._repr_png_().startswith(b"\x89PNG")
    assert [tick.get_text() for tick in figure.axes[1].get_yticklabels()] == labels
