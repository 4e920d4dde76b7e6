"""Scores for people: text and HTML that say the same, whatever is in a row."""

from __future__ import annotations

from typing import Any

from po_jupyter.evals.summary import ScoreSummary
from po_jupyter.model.pipeline.evals.scores import Scorer, score_columns
from po_jupyter.model.run.scores import ScoresOfTask
from po_jupyter.presentation.scores import (
    confusion_cells,
    score_bar,
    score_result,
    scores_html,
    scores_text,
    worst_cells,
)


def summary(right: int, n: int, *, failed: int = 0, **scorer: Any) -> ScoresOfTask:
    made = ScoreSummary(score_columns((Scorer.model_validate({"expect": "x", **scorer}),)))
    for i in range(n):
        value = float(i < right)
        made.add(
            i,
            {
                "values": {"accuracy": value, "exact": value},
                "classes": {"classes": ["bug", "bug" if value else "<wish>"]},
            },
        )
    for _ in range(failed):
        made.add_failed()
    return made.result("label")


def test_forty_of_fifty_in_a_line() -> None:
    scores = summary(40, 50, failed=2)
    assert score_result(scores["scores"][0], scores["rows"]) == (
        "exact", "0.80 (0.67 to 0.89) · 40 of 50 right, 2 without",
    )  # fmt: skip
    text = scores_text(scores)
    assert text.startswith("label: 52 rows, 2 failed\n") and "2 without exact: the row failed" in text


def test_the_lowest_rows_have_a_column_of_reasons_where_there_are_some() -> None:
    scores = summary(1, 2)
    head = scores_text(scores).split("the lowest\n")[1].splitlines()[0]
    assert head.split() == ["row", "input", "answer", "scores"] and "why" not in scores_html(scores)
    scores["worst"][0]["notes"] = {"exact": "out of the scale"}
    assert " why\n" in scores_text(scores) and "out of the scale" in scores_html(scores)


def test_a_bar_has_the_interval_in_it() -> None:
    score = summary(40, 50)["scores"][0]
    assert score_bar(score) == "█████████████▓▓▓▓▒··"
    assert score_bar(summary(0, 10)["scores"][0]).startswith("▒")
    assert score_bar({**score, "mean": None}) == score_bar({**score, "low": None}) == ""


def test_a_confusion_matrix_is_a_table_with_recall_and_precision() -> None:
    (table,) = summary(3, 4, metrics=["accuracy", "confusion"])["confusion"]
    columns, rows = confusion_cells(table)
    assert columns == ["expected ↓ answered →", "bug", "<wish>", "recall"]
    assert rows[0] == ["bug", "3", "1", "0.75"] and rows[-1] == ["precision", "1.00", "0.00", ""]


def test_html_is_escaped_and_needs_no_style() -> None:
    scores = summary(1, 2, metrics=["accuracy", "confusion"])
    scores["worst"][0] |= {"input": {"text": "<script>alert(1)</script>"}, "notes": {"accuracy": "a & b"}}
    text = scores_html(scores)
    assert (
        "<script>" not in text and "&lt;script&gt;" in text and "&lt;wish&gt;" in text and "a &amp; b" in text
    )
    assert "style" not in text and 'border="1"' in text


def test_a_worst_row_reads_like_words() -> None:
    cells = worst_cells({
        "index": 7, "values": {"exact": 0.0}, "notes": {"exact": "why\nso"}, "input": {"text": "a\nb", "tags": [1]},
        "output": "x" * 100,
    })  # fmt: skip
    assert cells == ["7", "text: a b, tags: [1]", "x" * 59 + "…", "exact 0.00", "why so"]


def test_nothing_scored_is_said() -> None:
    nothing = ScoreSummary([]).result("label")
    assert scores_text(nothing) == "label: nothing scores its answers"
    assert "nothing scores" in scores_html(nothing)
