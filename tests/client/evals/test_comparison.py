"""A comparison as people get it: one sentence, the rows that changed, a frame."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.client.evals.comparison import Comparison, compare_runs, map_of, summary_lines
from po_jupyter.errors import InvalidInput
from tests.support.cli import make_view

SIDE = {
    "run": "0123456789abcdef012345", "rows": 100, "done": 100, "failed": 0, "tokens": 1500, "cost_usd": 0.25,
    "seconds": 3.0, "models": ["m"],
}  # fmt: skip
SUMMARY: Any = {
    "changed": 7, "only_a": 0, "only_b": 2, "failed": 0, "open": 0, "same": 93, "agreement": 0.93, "by_index": 0,
    "a": SIDE, "b": {**SIDE, "cost_usd": None, "failed": 3},
}  # fmt: skip


def pair(index: int, change: str = "changed") -> Any:
    side = {"index": index, "state": "done", "input": index, "output": "x", "error": None, "tokens": 1,
            "cost_usd": None, "seconds": 0.1}  # fmt: skip
    return {"change": change, "by_input": True, "a": side, "b": None if change == "only_a" else side}


class Inspection:
    """Answers in pages; the first answers are not complete yet."""

    def __init__(self, incomplete: int = 0) -> None:
        self.incomplete = incomplete
        self.asked: list[tuple[int, bool]] = []

    async def compare(
        self, run: str, other: str, task: str, *, everything: bool, start: int, limit: int, gold: str | None
    ) -> Any:
        self.asked.append((start, everything))
        self.incomplete -= 1
        page = {"rows": [pair(start)], "summary": SUMMARY, "next": 1 if start == 0 else None}
        return {**page, "complete": self.incomplete < 0}


async def compared(inspection: Inspection, **options: Any) -> Comparison:
    aio: Any = SimpleNamespace(inspection=inspection)
    return await compare_runs(aio, make_view("done"), "other", None, everything=False, **options)


async def test_all_pages_are_read_and_what_was_not_complete_is_asked_again() -> None:
    inspection = Inspection(incomplete=2)
    comparison = await compared(inspection)
    assert [row["a"]["index"] for row in comparison.changed if row["a"]] == [0, 1]
    assert inspection.asked == [(0, False), (0, False), (0, False), (1, False)]


async def test_a_comparison_that_never_is_complete_says_so() -> None:
    """A run that goes on all the time is never read to its end: numbers of a part are no numbers of the whole."""
    comparison = await compared(Inspection(incomplete=10**9))
    assert not comparison.complete
    assert "not all rows could be read" in str(comparison)
    assert "not all rows" not in str(await compared(Inspection()))


def test_the_summary_is_one_sentence_and_a_line_for_each_run() -> None:
    first, a, b = summary_lines("label", SUMMARY)
    assert first == "label: 93 of 100 answers agree (93%), 7 changed, 2 only in B"
    assert "A 012345" in a and "$0.25" in a
    assert "3 failed" in b and "cost unknown" in b
    assert str(Comparison("label", SUMMARY, [])).startswith(first)
    joined = summary_lines("label", {**SUMMARY, "by_index": 4})[0]
    assert "4 joined by place" in joined


def test_one_change_among_many_is_not_rounded_away() -> None:
    assert "(99%)" in summary_lines("label", {**SUMMARY, "same": 9999, "changed": 1, "agreement": 0.9999})[0]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_has_both_sides(library: Any) -> None:
    pytest.importorskip(library)
    frame = Comparison("label", SUMMARY, [pair(3), pair(4, "only_a")]).frame(library)
    assert list(frame.columns)[:4] == ["change", "input", "a_row", "a_state"]
    assert next(iter(frame["b_output"])) == "x"
    assert list(frame["a_row"]) == [3, 4]
    with pytest.raises(InvalidInput, match="pandas or polars"):
        Comparison("label", SUMMARY, []).frame("arrow")  # type: ignore[arg-type]


def test_the_map_may_be_left_out_where_there_is_one() -> None:
    assert map_of(make_view("done"), None) == "label"
    with pytest.raises(InvalidInput, match="has no map 'extract'; its maps: label"):
        map_of(make_view("done"), "extract")


def test_a_comparison_in_a_cell_is_two_tables() -> None:
    """It was four lines of text."""
    mean = {"name": "right", "mean": 0.8, "interval": None}
    scores = [{"name": "right", "a": mean, "b": {**mean, "mean": 0.9}, "p": None}]
    rows = [pair(n) for n in range(12)]
    drawn = Comparison("label", {**SUMMARY, "scores": scores}, rows, complete=False)._repr_html_()
    assert drawn.count("<table") == 2 and "93 of 100 answers agree (93%), 7 changed" in drawn
    assert "<p>right: A 0.80, B 0.90</p>" in drawn and "<p>not all rows could be read" in drawn
    assert "the first 10 of 12" in drawn and "unknown" in drawn and "$0.25" in drawn
    assert Comparison("label", SUMMARY, [])._repr_html_().count("<table") == 1
