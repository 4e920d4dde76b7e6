"""Scores as a person gets them: what is asked for becomes the field `score`."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.client.evals.scores import Scores, score_body
from po_jupyter.client.frames import row_cells
from po_jupyter.errors import InvalidInput, NotFound
from po_jupyter.evals.summary import ScoreSummary
from po_jupyter.model.pipeline.evals.scores import Scorer, score_columns
from tests.client.evals.test_variants import comparison


@pytest.mark.parametrize(
    ("asked", "body"),
    [
        ({"expect": "x"}, {"expect": "x"}),
        ({"expect": "x", "metrics": ("f1",), "on": "a"}, {"expect": "x", "metrics": ["f1"], "on": "a"}),
        ({"judge": "good?", "model": "m", "scale": (1, 5)}, {"judge": "good?", "llm": {"model": "m"}, "scale": [1, 5]}),
        ({"expect": "x", "judge": "good?", "metrics": "f1"}, [
            {"expect": "x", "metrics": "f1"}, {"judge": "good?", "expect": "x"}]),
        ({"metrics": "number", "tolerance": 0.1}, {"metrics": "number", "tolerance": 0.1}),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_the_field_of_a_task(asked: dict[str, Any], body: Any) -> None:
    given = {"expect": None, "metrics": None, "judge": None, **asked}
    assert score_body(**given) == body


def test_nothing_asked_for_is_refused() -> None:
    with pytest.raises(InvalidInput, match="need `expect`"):
        score_body(None, None, None)


def test_scores_by_name_and_as_a_frame() -> None:
    made = ScoreSummary(score_columns((Scorer(expect="x"),)))
    for i in range(4):
        made.add(i, {"values": {"exact": float(i < 3)}})
    scores = Scores(made.result("label"))
    assert scores["exact"]["mean"] == 0.75 and scores.names == ["exact"] and scores.worst[0]["index"] == 3
    with pytest.raises(NotFound, match="did you mean `exact`"):
        scores["exakt"]
    frame = scores.frame()
    assert list(frame.index) == ["exact"] and frame.loc["exact", "scored"] == 4
    assert "3 of 4 right" in str(scores) and "<table" in scores._repr_html_()


async def test_rows_get_the_scores_made_anew_in_the_place_of_the_recorded() -> None:
    made = ScoreSummary(score_columns((Scorer(expect="x"),))).result("label")
    rows: Any = [{"index": n, "ok": n < 1, "output": "a", "scores": {"values": {"old": 1.0}}} for n in range(2)]

    async def read() -> dict[int, Any]:
        return {0: {"values": {"exact": 0.0}}}

    added = await Scores({**made}, None, read).added_to(rows, "label")
    assert [row_cells(row).get("score_exact", "none") for row in added] == [0.0, None]
    assert "score_old" not in row_cells(added[0])
    assert await Scores({**made}).added_to(rows, "label") == rows
    with pytest.raises(InvalidInput, match="the scores of task 'label'"):
        await Scores({**made}).added_to(rows, "other")


def test_variants_are_beside_each_other() -> None:
    made = ScoreSummary(score_columns((Scorer(expect="x"),))).result("label")
    scores = Scores({**made, "variants": comparison().summary})
    frame = scores.frame()
    assert list(frame["variant"]) == ["short"] and list(frame.index) == ["exact"]
    assert scores.variants is not None and scores.variants["long"]["done"] == 50
    assert "in pairs" in str(scores) and "McNemar" in scores._repr_html_()
