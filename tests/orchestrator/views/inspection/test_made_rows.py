"""Rows of operators that ask no model, in the table of a run: they were shown as pending for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.engine.operators.result_rows import ResultRows
from po_jupyter.errors import NotFound
from po_jupyter.orchestrator.views.inspection.made_rows import MadeRows
from po_jupyter.orchestrator.views.inspection.row_query import RowQuery
from tests.support.orchestrator import orchestrator, wait_for_state

KEPT = MadeRows(ResultRows([{"n": 3}, {"n": 12}, "yes"], [4, 7, 9], "rows", {"score": [0.5, 0.25, 1.0]}))


def query(**fields: object) -> RowQuery:
    return RowQuery("keep", **{"state": None, "sort": "index", "desc": False, "q": "", **fields})  # type: ignore[arg-type]


def test_rows_have_where_they_are_in_the_seed_and_their_columns() -> None:
    first, *_ = KEPT.rows([0, 2])
    assert (first["state"], first["output"], first["row"], first["columns"]) == (
        "done",
        {"n": 3},
        4,
        {"score": 0.5},
    )
    assert KEPT.rows([1], limit=3)[0]["clipped"]


def test_rows_are_searched_and_sorted() -> None:
    assert KEPT.find(query()).indexes == [0, 1, 2]
    assert KEPT.find(query(desc=True)).indexes == [2, 1, 0]
    assert KEPT.find(query(q="YES")).indexes == [2]
    assert KEPT.find(query(state="failed")).indexes == []
    assert KEPT.find(query(sort="output")).indexes == [2, 1, 0]


def test_a_group_has_its_rows() -> None:
    group = {"key": "a", "rows": [{"n": 1}, {"n": 2}]}
    (row,) = MadeRows(ResultRows([group], [[0, 3]], "rows")).rows([0])
    assert (row["rows"], row["columns"]) == ([0, 3], {"key": "a", "size": 2})


@pytest.mark.integration
async def test_the_table_of_a_run_has_the_rows_that_were_kept(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        task = {"name": "keep", "for_each": "{{ seed.rows }}", "where": "{{ item.n > 2 }}"}
        rows = [{"n": number} for number in range(5)]
        body = {
            "pipeline": {"name": "p", "tasks": [task]}, "seed": {"name": "s", "data": {"rows": rows}},
        }  # fmt: skip
        view, _ = await service.submissions.submit(body, owner="me")
        await wait_for_state(service, view.id)
        page = await service.inspection.rows(view.id, None, "keep")
        assert [(row["state"], row["output"], row["row"]) for row in page["rows"]] == [
            ("done", {"n": 3}, 3), ("done", {"n": 4}, 4),
        ]  # fmt: skip
        assert (page["total"], page["matching"], page["next"]) == (2, 2, None)
        assert (await service.inspection.row(view.id, None, "keep", 1))["output"] == {"n": 4}
        with pytest.raises(NotFound, match="2 rows"):
            await service.inspection.row(view.id, None, "keep", 2)
