"""The tables of a run: made in one pass, past what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import RateLimited
from po_jupyter.orchestrator.views.inspection import tables
from po_jupyter.orchestrator.views.inspection.call_table import CallTable
from po_jupyter.store.protocol import Commit
from tests.support.run_page import DamagedStore, inspection
from tests.support.stored_runs import RUN as STORED
from tests.support.stored_runs import store_run


async def test_what_cannot_be_read_is_a_note_and_the_rest_is_shown(tmp_path: Path) -> None:
    """C8: one corrupt row is not the end of a page."""
    store = DamagedStore()
    store_run(store)
    lease = store.claim(STORED, {"pid": 1})
    for i in range(3):
        item: Any = {"task": "one", "index": i, "ok": True, "output": 0}
        store.commit(lease, Commit([], [item], payloads=[f"out {i}"]))
    store.damage(f"c/{STORED}/00000003", f"p/{STORED}/00000004")
    look = inspection(store, Settings(data_dir=tmp_path))
    answer = await look.rows(STORED, "", "one")
    assert [(row["output"], "unreadable" in row["flags"]) for row in answer["rows"]] == [
        ("out 0", False), (None, False), (None, True),
    ]  # fmt: skip
    assert answer["notes"]
    assert [row["index"] for row in (await look.rows(STORED, "", "one", q="out"))["rows"]] == [0]


async def test_a_record_that_makes_no_sense_is_a_note_and_the_page_goes_on(tmp_path: Path) -> None:
    store = DamagedStore()
    store_run(store)
    lease = store.claim(STORED, {"pid": 1})
    bad: Any = {"key": "no key", "kind": "intent", "model": "m", "stage": "inference"}
    large: Any = {**bad, "key": f"one/{2**40}/101/0/inference/a/0"}
    good: Any = {**bad, "key": "one/1/101/0/inference/a/0"}
    for i, call in enumerate((bad, large, good)):
        usage = {"input_tokens": 5 * 10**9 if i else None}
        item: Any = {"task": "one", "index": i, "ok": True, "output": 0, "usage": usage}
        store.commit(lease, Commit([], [item], [call], payloads=[f"out {i}"]))
    look = inspection(store, Settings(data_dir=tmp_path))
    for _ in range(2):
        answer = await look.rows(STORED, "", "one")
        assert [row["output"] for row in answer["rows"]] == ["out 0", "out 1", "out 2"]
        assert [note[:8] for note in answer["notes"]] == ["record 2", "record 3", "record 3"]
        assert [row["tokens"] for row in answer["rows"]] == [0, 5 * 10**9, 5 * 10**9]
        assert [call["row"] for call in (await look.calls(STORED, ""))["calls"]] == [1]
        await look.spending(STORED, "")


def test_a_call_that_no_column_takes_leaves_the_columns_as_they_were() -> None:
    table = CallTable()
    intent: Any = {"kind": "intent", "model": "m", "stage": "inference"}
    record: Any = {"n": 1, "fence": 1, "calls": [{**intent, "key": f"m/{2**40}/101/0/inference/a/0"}]}
    with pytest.raises(OverflowError):
        table.apply(record)
    table.apply({**record, "n": 2, "calls": [{**intent, "key": "m/3/101/0/inference/a/0"}]})
    assert list(table.numbers("m", 3, None, None)) == [0]
    assert table.place(0).begin == (2, 0)


def test_who_waits_too_long_for_the_tables_of_a_run_is_asked_to_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tables, "_PATIENCE", 0.01)
    store = DamagedStore()
    head = store_run(store)
    cache = tables.TableCache(store)
    with cache.of(head), pytest.raises(RateLimited), cache.of(head):
        pass
    with cache.of(head):
        pass
