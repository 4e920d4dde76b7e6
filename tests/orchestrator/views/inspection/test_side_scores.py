"""Scores of two runs beside each other, recorded ones, by a field of the rows, by what people said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.review import answer_digest
from tests.orchestrator.views.inspection.test_compare import OTHER
from tests.support.engine import RUN
from tests.support.run_page import MAP, RunPage

ROWS = [{"text": f"t{n}", "gold": f"a{n}"} for n in range(50)]
SCORE = {"expect": "{{ item.gold }}", "metrics": ["exact"]}


async def two_runs(tmp: Path, **fields: Any) -> RunPage:
    """A is right of 40 of 50 rows, B of 45: five that A has not, and none the other way round."""
    page = RunPage(tmp, [f"a{n}" if n < 40 else "x" for n in range(50)])
    task = {**MAP, "max_concurrency": 1, "cache": False, **fields}
    page.bench.create([task], {"rows": ROWS})
    assert await page.bench.go() == "done"
    page.bench.run = OTHER
    page.bench.fake._replies = [f"a{n}" if n < 45 else "y" for n in range(50)]
    page.bench.create([task], {"rows": ROWS})
    assert await page.bench.go() == "done"
    return page


async def scores(page: RunPage, gold: str | None = None) -> list[Any]:
    asked = len(page.bench.fake.requests)
    found = (await page.inspection.compare(RUN, "me", OTHER, "label", gold=gold))["summary"]["scores"]
    assert len(page.bench.fake.requests) == asked, "no call is sent"
    return list(found)


async def test_scores_that_both_runs_recorded(tmp_path: Path) -> None:
    page = await two_runs(tmp_path, score=SCORE)
    (score,) = await scores(page)
    assert (score["a"]["mean"], score["b"]["mean"]) == (0.8, 0.9)
    assert (score["both"], score["a_only"], score["b_only"], score["neither"]) == (40, 0, 5, 5)
    assert score["p"] == 0.0625
    assert len(await scores(page, "gold")) == 2


async def test_a_field_of_the_rows_says_what_is_right(tmp_path: Path) -> None:
    page = await two_runs(tmp_path)
    assert await scores(page) == []
    (score,) = await scores(page, "gold")
    assert (score["a"]["mean"], score["a"]["right"], score["b"]["mean"], score["p"]) == (0.8, 40, 0.9, 0.0625)
    with pytest.raises(InvalidInput, match="no row has a field 'gdol'"):
        await scores(page, "gdol")


async def test_what_people_said_of_either_run_is_right_of_both(tmp_path: Path) -> None:
    page = await two_runs(tmp_path)
    with pytest.raises(InvalidInput, match="reviewed"):
        await scores(page, "corrections")

    def review(run: str, index: int, seen: str, **fields: Any) -> None:
        said = {"id": f"{run}{index}", "by": "ada", "answer": answer_digest(True, seen), **fields}
        event = draft("item.reviewed", "label", index, **said)
        page.bench.store.request(run, [event])

    review(RUN, 0, "a0", decision="agree")
    review(RUN, 41, "x", decision="correct", output="a41")
    review(RUN, 42, "something else, before", decision="correct", output="a42")  # of an answer that was
    review(OTHER, 46, "y", decision="correct", output="a46")
    (score,) = await scores(page, "corrections")
    assert (score["rows"], score["both"], score["a_only"], score["b_only"], score["neither"]) == (3, 1, 0, 1, 1)


async def test_how_sure_an_answer_is_is_no_part_of_what_it_says(tmp_path: Path) -> None:
    """The labels of two runs were all changed, and all wrong beside corrections, where only `confidence` differs."""
    page = RunPage(tmp_path)
    task = {**MAP, "max_concurrency": 1, "cache": False, "output": {"type": "object"}}
    for run, labels, sure in ((RUN, "bbp", 0.91), (OTHER, "bpp", 0.92)):
        page.bench.run = run
        page.bench.fake._replies = [json.dumps({"label": label, "confidence": sure}) for label in labels]
        page.bench.create([task], {"rows": [{"text": str(n), "gold": gold} for n, gold in enumerate("bbp")]})
        assert await page.bench.go() == "done"
    summary = (await page.inspection.compare(RUN, "me", OTHER, "label"))["summary"]
    assert (summary["same"], summary["changed"]) == (2, 1)
    (score,) = await scores(page, "gold")
    assert (score["a"]["right"], score["b"]["right"]) == (3, 2)
    for index, label in enumerate("bb"):
        seen = answer_digest(True, {"label": label, "confidence": 0.91})
        said = {"id": str(index), "by": "ada", "answer": seen, "decision": "agree"}
        page.bench.store.request(RUN, [draft("item.reviewed", "label", index, **said)])
    (score,) = await scores(page, "corrections")
    assert (score["a"]["right"], score["b"]["right"]) == (2, 1)


async def test_of_an_answer_with_fields_the_one_of_that_name_is_compared(tmp_path: Path) -> None:
    page = RunPage(tmp_path, ['{"gold": "g", "why": "w"}', '{"label": "g"}', '{"a": "g", "b": "g"}'] * 2)
    task = {**MAP, "max_concurrency": 1, "cache": False, "output": {"type": "object"}}
    for run in (RUN, OTHER):
        page.bench.run = run
        page.bench.create([task], {"rows": [{"text": str(n), "gold": "g"} for n in range(3)]})
        assert await page.bench.go() == "done"
    (score,) = await scores(page, "gold")
    assert (score["both"], score["neither"]) == (2, 0)  # of several fields none is chosen
