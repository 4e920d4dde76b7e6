"""A map of two runs, row by row."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput, ModelRefused, NotFound
from po_jupyter.orchestrator.views.inspection import compare, row_query
from po_jupyter.orchestrator.views.inspection.comparison import pair_rows
from po_jupyter.orchestrator.views.inspection.row_contents import RowContent
from tests.support.engine import RUN
from tests.support.run_page import MAP, RunPage

OTHER = "0193f00000000000abcdee"
ROWS = [{"text": f"row {n}"} for n in range(100)]
DIFFERENT = (3, 17, 18, 40, 55, 80, 99)


async def two_runs(tmp: Path, *, rows: Any = ROWS, replies: Any = None, **more: Any) -> RunPage:
    """A run of 100 rows, and another of which seven answers differ."""
    page = RunPage(tmp, [f"answer {n}" for n in range(100)])
    one_by_one = {**MAP, "max_concurrency": 1, "cache": False, **more}
    page.bench.create([one_by_one], {"rows": ROWS})
    assert await page.bench.go() == "done"
    page.bench.run = OTHER
    answers = [f"answer {n}{' !' if n in DIFFERENT else ''}" for n in range(100)]
    page.bench.fake._replies = list(answers if replies is None else replies)
    page.bench.create([one_by_one], {"rows": rows})
    assert await page.bench.go() == "done"
    return page


async def test_seven_of_a_hundred_that_differ_are_seven_rows(tmp_path: Path) -> None:
    """Issue 10, compare: those that changed, what agrees, and what each paid; no model is asked."""
    page = await two_runs(tmp_path)
    asked = len(page.bench.fake.requests)
    answer = await page.inspection.compare(RUN, "me", OTHER, "label")
    assert [row["a"]["index"] for row in answer["rows"]] == list(DIFFERENT)
    assert answer["matching"] == 7 and answer["next"] is None and answer["complete"]
    assert {row["change"] for row in answer["rows"]} == {"changed"}
    first = answer["rows"][0]
    assert (first["a"]["output"], first["b"]["output"]) == ("answer 3", "answer 3 !")
    assert first["a"]["input"] == first["b"]["input"] == ROWS[3]
    summary = answer["summary"]
    assert (summary["changed"], summary["same"], summary["agreement"]) == (7, 93, 0.93)
    assert (summary["a"]["run"], summary["b"]["run"]) == (RUN, OTHER)
    for side in ("a", "b"):
        assert summary[side]["rows"] == summary[side]["done"] == 100
        assert summary[side]["tokens"] > 0
        assert summary[side]["models"]
    assert len(page.bench.fake.requests) == asked

    everything = await page.inspection.compare(RUN, "me", OTHER, "label", everything=True, limit=10)
    assert [row["change"] for row in everything["rows"]] == ["changed"] * 7 + ["same"] * 3
    assert (everything["matching"], everything["next"]) == (100, 10)
    last = await page.inspection.compare(RUN, "me", OTHER, "label", everything=True, start=95, limit=10)
    assert len(last["rows"]) == 5 and last["next"] is None


async def test_rows_in_another_order_are_joined_by_their_input(tmp_path: Path) -> None:
    page = await two_runs(
        tmp_path, rows=ROWS[::-1], replies=[f"answer {n}{' !' if n == 5 else ''}" for n in range(99, -1, -1)]
    )
    answer = await page.inspection.compare(RUN, "me", OTHER, "label")
    (row,) = answer["rows"]
    assert (row["a"]["index"], row["b"]["index"]) == (5, 94)
    assert answer["summary"]["by_index"] == 0


async def test_a_row_that_fails_in_one_run_only_has_changed(tmp_path: Path) -> None:
    replies: list[Any] = [f"answer {n}" for n in range(100)]
    replies[7] = ModelRefused("no")
    page = await two_runs(tmp_path, replies=replies)
    (row,) = (await page.inspection.compare(RUN, "me", OTHER, "label"))["rows"]
    assert (row["a"]["state"], row["b"]["state"]) == ("done", "failed")
    assert row["b"]["error"]["message"] == "no"


async def test_a_comparison_that_takes_too_long_goes_on_when_it_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await two_runs(tmp_path)
    monkeypatch.setattr(row_query, "_PATIENCE", -1.0)
    monkeypatch.setattr("po_jupyter.orchestrator.views.inspection.rows._PORTION", 60)
    first = await page.inspection.compare(RUN, "me", OTHER, "label")
    assert not first["complete"]
    assert [row["a"]["index"] for row in first["rows"]] == [3, 17, 18, 40, 55], "of the rows that are read"
    second = await page.inspection.compare(RUN, "me", OTHER, "label")
    assert second["complete"] and second["matching"] == 7


async def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    page = await two_runs(tmp_path)
    with pytest.raises(InvalidInput, match="compared with itself"):
        await page.inspection.compare(RUN, "me", RUN, "label")
    with pytest.raises(NotFound, match="did you mean `label`"):
        await page.inspection.compare(RUN, "me", OTHER, "lable")
    with pytest.raises(NotFound):
        await page.inspection.compare(RUN, "somebody", OTHER, "label")
    with pytest.raises(NotFound):
        await page.inspection.compare(RUN, "me", "ffffff", "label")


async def test_the_loop_does_not_pair_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P9: of 100,000 rows that takes long enough for others to wait."""
    page = await two_runs(tmp_path)
    threads: list[threading.Thread] = []

    def paired(*sides: Any) -> Any:
        threads.append(threading.current_thread())
        return pair_rows(*sides)

    monkeypatch.setattr(compare, "pair_rows", paired)
    for _ in range(2):
        assert (await page.inspection.compare(RUN, "me", OTHER, "label"))["matching"] == 7
    assert len(threads) == 1, "and pairs them once"
    assert threads[0] is not threading.main_thread()


def test_answers_that_cannot_be_read_do_not_agree() -> None:
    lost, known = RowContent("done", "i", None, unreadable=True), RowContent("done", "i", "x")
    for sides in ((lost, lost), (lost, known), (known, lost)):
        assert pair_rows([sides[0]], [sides[1]]).counts["open"] == 1
    assert pair_rows([known], [known]).counts["same"] == 1


async def test_how_probable_an_answer_was_is_no_change_of_it(tmp_path: Path) -> None:
    """Each row had changed, and none was right by a field or by what people said."""
    labelled = {
        "max_concurrency": 1, "cache": False, "confidence": "logprobs",
        "output": {"type": "object", "properties": {"label": {"enum": ["a", "b"]}}},
    }  # fmt: skip
    page = RunPage(tmp_path)
    for run, confidence, gold in ((RUN, 0.6, "a"), (OTHER, 0.9, "a")):
        page.bench.run = run
        task = {**MAP, **labelled, "llm": {"model": f"fake:echo?confidence={confidence}"}}
        page.bench.create([task], {"rows": [{"text": "x", "gold": gold}, {"text": "y", "gold": "b"}]})
        assert await page.bench.go() == "done"
    found = await page.inspection.compare(RUN, "me", OTHER, "label", everything=True, gold="gold")
    assert {row["a"]["output"]["confidence"] for row in found["rows"]} == {0.6}
    assert {row["b"]["output"]["confidence"] for row in found["rows"]} == {0.9}
    summary = found["summary"]
    assert (summary["same"], summary["changed"]) == (2, 0)
    (score,) = summary["scores"]
    assert (score["a"]["mean"], score["b"]["mean"], score["both"], score["neither"]) == (0.5, 0.5, 1, 1)
