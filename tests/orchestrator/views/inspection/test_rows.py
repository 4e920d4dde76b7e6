"""Rows of a map as a table: sorted, filtered, searched, cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import ModelRefused
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.views.inspection import row_query
from po_jupyter.store.protocol import Commit
from tests.support.engine import RUN
from tests.support.run_page import MAP, ROWS, RunPage, fruit_page


async def test_a_row_has_input_output_and_numbers(tmp_path: Path) -> None:
    page = await fruit_page(tmp_path)
    answer = await page.rows()
    assert (answer["total"], answer["matching"], answer["next"], answer["complete"]) == (3, 3, None, True)
    first = answer["rows"][0]
    assert (first["index"], first["state"], first["input"], first["output"]) == (0, "done", ROWS[0], "green")
    assert first["attempts"] == 1
    assert first["tokens"] > 0
    assert first["model"]
    assert first["error"] is None
    assert not first["clipped"]
    assert (await page.inspection.row(RUN, "me", "label", 2))["output"] == "blue"


async def test_rows_are_sorted_searched_and_paged(tmp_path: Path) -> None:
    page = await fruit_page(tmp_path)
    assert await page.indexes(sort="output") == [2, 0, 1]
    assert await page.indexes(sort="output", desc=True) == [1, 0, 2]
    assert await page.indexes(sort="index", desc=True, limit=2) == [2, 1]
    assert await page.indexes(desc=True, start=2, limit=2) == [0]
    for sort in ("state", "attempts", "tokens", "cost_usd", "seconds"):
        assert sorted(await page.indexes(sort=sort)) == [0, 1, 2]
    assert await page.indexes(q="APPLE") == [1]  # of the input
    assert await page.indexes(q="blue") == [2]  # of the output
    assert await page.indexes(q="nowhere") == []
    assert await page.indexes(state="failed") == []
    assert (await page.rows(limit=1, start=1))["next"] == 2
    assert await page.indexes(start=99) == []


async def test_a_failed_row_is_found_by_its_state_and_its_error(tmp_path: Path) -> None:
    page = RunPage(tmp_path, ["green", ModelRefused("no such fruit"), "blue"])
    page.bench.create([{**MAP, "max_concurrency": 1, "failure_threshold": 0.9}], {"rows": ROWS})
    assert await page.bench.go() == "done"
    assert await page.indexes(state="failed") == [1]
    assert await page.indexes(q="no such fruit") == [1]
    assert await page.indexes(sort="state") == [1, 0, 2]
    (row,) = (await page.rows(state="failed"))["rows"]
    assert row["error"]["message"] == "no such fruit"
    calls = (await page.inspection.calls(RUN, "me", state="failed"))["calls"]
    assert [(call["row"], call["error"]) for call in calls] == [(1, ModelRefused.code)]


async def test_long_values_are_cut_in_a_page_and_whole_alone(tmp_path: Path) -> None:
    page = RunPage(tmp_path, ["y" * 5000])
    page.bench.create([MAP], {"rows": [{"text": "x" * 3000}]})
    assert await page.bench.go() == "done"
    (row,) = (await page.rows())["rows"]
    assert row["clipped"]
    assert len(row["input"]) == len(row["output"]) == 2000
    whole = await page.inspection.row(RUN, "me", "label", 0)
    assert not whole["clipped"]
    assert whole["input"] == {"text": "x" * 3000}
    assert whole["output"] == "y" * 5000


async def test_rows_without_an_outcome_are_listed_as_pending_or_running(tmp_path: Path) -> None:
    page = RunPage(tmp_path)
    page.bench.create([{**MAP, "max_concurrency": 1}], {"rows": ROWS})
    lease = page.bench.store.claim(RUN, {"pid": 1})
    intent: Any = {"key": "label/1/100/0/inference/abc/0", "kind": "intent", "model": "m", "stage": "inference"}
    started = [draft("run.started"), draft("task.started", "label", attempt=1)]
    mapped = draft("map.started", "label", total=3, of="rows")
    page.bench.store.commit(lease, Commit([*started, mapped], calls=[intent], state="running"))
    rows = (await page.rows())["rows"]
    assert [row["state"] for row in rows] == ["pending", "running", "pending"]
    assert [row["input"] for row in rows] == ROWS
    (call,) = (await page.inspection.calls(RUN, "me"))["calls"]
    assert (call["state"], call["row"], call["model"], call["seconds"]) == ("in_flight", 1, "m", None)
    page.bench.store.claim(RUN, {"pid": 2})  # another worker: what became of it nobody knows
    (call,) = (await page.inspection.calls(RUN, "me"))["calls"]
    assert call["state"] == "unknown"


async def test_a_search_that_took_too_long_is_not_its_answer_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await fruit_page(tmp_path)
    monkeypatch.setattr(row_query, "_PORTION", 1)
    monkeypatch.setattr(row_query, "_PATIENCE", -1.0)
    answers = [await page.rows(q="e", sort="output") for _ in range(6)]
    assert [row["index"] for row in answers[-1]["rows"]] == [2, 0, 1]
    assert [answer["complete"] for answer in (answers[0], answers[-1])] == [False, True]


async def test_sorting_by_output_stops_in_time_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await fruit_page(tmp_path)
    monkeypatch.setattr(row_query, "_PATIENCE", -1.0)
    answers = [await page.rows(sort="output") for _ in range(4)]
    assert not answers[0]["complete"]
    assert answers[-1]["complete"]
    assert [row["index"] for row in answers[-1]["rows"]] == [2, 0, 1]
