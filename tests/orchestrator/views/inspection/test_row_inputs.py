"""Inputs of rows: those that they were made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from po_jupyter.engine.replay.history import map_marker
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.views.inspection.row_inputs import RowInputs
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit, NewRun
from tests.support.engine import RUN
from tests.support.run_page import MAP, ROWS, RunPage


async def test_rows_that_come_from_another_task_have_their_input(tmp_path: Path) -> None:
    page = RunPage(tmp_path, ["green", "red", "blue", "g", "r", "b"])
    again = {
        "name": "again",
        "prompt": "{{ item.output }}",
        "for_each": "{{ tasks.label }}",
        "max_concurrency": 1,
    }
    page.bench.create([{**MAP, "max_concurrency": 1}, again], {"rows": ROWS})
    assert await page.bench.go() == "done"
    rows = (await page.rows("again"))["rows"]
    assert [(row["input"]["output"], row["output"]) for row in rows] == [
        ("green", "g"),
        ("red", "r"),
        ("blue", "b"),
    ]


async def test_rows_of_a_sorted_selection_have_the_input_that_they_had(tmp_path: Path) -> None:
    page = RunPage(tmp_path, ["a", "f", "p"])
    chosen = {**MAP, "for_each": "{{ seed.rows | sort(attribute='text') }}", "max_concurrency": 1}
    page.bench.create([chosen], {"rows": ROWS})
    assert await page.bench.go() == "done"
    rows = (await page.rows())["rows"]
    assert [(row["input"]["text"], row["output"]) for row in rows] == [
        ("apple", "a"),
        ("fig", "f"),
        ("pear", "p"),
    ]


async def test_of_a_map_before_only_the_rows_that_were_done_again_are_newer(tmp_path: Path) -> None:
    page = RunPage(tmp_path, ["green", "red", "blue", "g", "r", "b"])
    again = {
        "name": "again",
        "prompt": "{{ item.output }}",
        "for_each": "{{ tasks.label }}",
        "max_concurrency": 1,
    }
    page.bench.create([{**MAP, "max_concurrency": 1}, again], {"rows": ROWS})
    assert await page.bench.go() == "done"
    store: Any = page.bench.store
    store.request(RUN, [draft("run.resumed", by="me", reset=["label"])], state="queued")
    lease = store.claim(RUN, {"pid": 2})
    item: Any = {"task": "label", "index": 1, "ok": True, "output": 0}
    began = [draft("run.started"), draft("task.started", "label", attempt=2)]
    store.commit(lease, Commit(began, [item], payloads=["pink"]))
    store.commit(lease, Commit([draft("task.done", "label", output=0)], payloads=[map_marker("label", 3)]))
    rows = (await page.rows("again"))["rows"]
    assert [row["input"] and row["input"]["output"] for row in rows] == ["green", None, "blue"]
    assert [row["flags"] for row in rows] == [[], ["input_changed"], []]


async def test_a_row_is_not_shown_beside_an_input_that_is_newer_than_itself(tmp_path: Path) -> None:
    """After a restart of the task before, alone, its new output is not what the rows were made of."""
    page = RunPage(tmp_path, ["about apple"])
    label = {**MAP, "prompt": "About {{ item }}", "for_each": "{{ tasks.prep }}"}
    prep = {"name": "prep", "source": "def ingestion(ctx):\n    return ['apple']\n"}
    page.bench.create([prep, label])
    assert await page.bench.go() == "done"
    (row,) = (await page.rows())["rows"]
    assert (row["input"], row["flags"]) == ("apple", [])
    store: Any = page.bench.store
    store.request(RUN, [draft("run.resumed", by="me", reset=["prep"], clear=["prep"])], state="queued")
    lease = store.claim(RUN, {"pid": 2})
    began = [draft("run.started"), draft("task.started", "prep", attempt=1)]
    store.commit(lease, Commit([*began, draft("task.done", "prep", output=0)], payloads=[["zebra"]]))
    (row,) = (await page.rows())["rows"]
    assert (row["input"], row["output"], row["flags"]) == (None, "about apple", ["input_changed"])
    assert await page.indexes(q="zebra") == []
    call = await page.inspection.call(RUN, "me", 0)
    assert not call["exact"]


def test_a_child_run_has_the_rows_of_its_parent(tmp_path: Path) -> None:
    store = MemoryStore()
    seed = {"name": "s", "data": {"rows": [1, 2]}}
    part = {"pipeline": {}, "seed": {"name": "s", "data": {}}, "parent": {"run": "0a"}}
    store.create_run(NewRun("0a", "me", "p", "1.0.0", "n", 0, {"pipeline": {}, "seed": seed}, []))
    head, _ = store.create_run(NewRun("0b", "me", "p", "1.0.0", "n", 0, part, [], parent="0a"))
    inputs = RowInputs(RowFiles(tmp_path), store, RunProjections(store))
    assert inputs.seed_data(head)["rows"] == [1, 2]
