"""`po score`: what its options mean."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from po_jupyter.cli.verbs.evals.score import _text, metric_names, numbers_of


def test_metrics_are_a_list_with_commas() -> None:
    assert metric_names("exact, f1,") == ["exact", "f1"]
    assert metric_names(None) is None


@pytest.mark.parametrize(
    ("text", "scale"), [("1-5", [1, 5]), ("0 - 1", [0, 1]), ("-2-2", [-2, 2]), ("1..10", [1, 10])]
)
def test_a_scale_is_two_numbers(text: str, scale: list[int]) -> None:
    assert numbers_of(text) == scale


@pytest.mark.parametrize("text", ["5", "a-b", "", "1-", "0.5-1"])
def test_what_is_no_scale_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no scale"):
        numbers_of(text)


def test_the_question_of_a_judge_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "judge.txt").write_text("Good?\n")
    assert _text(f"@{tmp_path / 'judge.txt'}") == "Good?\n"
    assert _text("Good?") == "Good?"
