"""The table of a map's outcomes, against a plain dict of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.engine.replay.row_table import DONE, FAILED, MapOutput, RowTable
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit
from tests.support.engine import RUN, new_run


@given(st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=60))
def test_the_newest_outcome_of_each_row_counts(outcomes: list[tuple[int, bool]]) -> None:
    table, plain = RowTable(), dict[int, bool]()
    for n, (index, ok) in enumerate(outcomes, 1):
        table.set(index, ok, (n, 0) if ok else None, n=n)
        plain[index] = ok
        assert table.record_number(index) == n
    assert {index: row.ok for index, row in table.items()} == plain
    assert list(table) == sorted(plain) and len(table) == len(plain)
    assert (table.done, table.failed) == (sum(plain.values()), len(plain) - sum(plain.values()))
    assert list(table.indexes(FAILED)) == sorted(i for i, ok in plain.items() if not ok)
    assert table.reopen(None) == sorted(i for i, ok in plain.items() if not ok)
    assert list(table) == sorted(i for i, ok in plain.items() if ok) and table.failed == 0


def test_rows_without_an_outcome_are_not_in_it() -> None:
    table = RowTable()
    table.set(3, True)
    assert 0 not in table and -1 not in table and 4 not in table and "3" not in table
    assert table.get(0) is None and table[3].output is None, "on its way to the disk"
    assert list(table.indexes(DONE, start=4)) == []
    with pytest.raises(KeyError):
        table[99]


def test_the_output_of_a_map_is_read_row_by_row() -> None:
    store = MemoryStore()
    new_run(store, {"name": "p", "tasks": [{"name": "m", "prompt": "x", "for_each": "[]"}]}, {})
    items: list[Any] = [
        {"task": "m", "index": 0, "ok": True, "output": 0},
        {"task": "m", "index": 2, "ok": False, "error": {"code": "stage_failed"}},
    ]
    store.commit(store.claim(RUN, {"pid": 1}), Commit(items=items, payloads=["x"]))
    table = RowTable()
    for record in store.records(RUN):
        for item in record["items"]:
            table.set(item["index"], item["ok"], item.get("output"), n=record["n"])
    output = MapOutput(store, RUN, "m", table, 3)
    assert list(output) == [
        {"index": 0, "ok": True, "output": "x", "error": None},
        {"index": 1, "ok": False, "output": None, "error": None},
        {"index": 2, "ok": False, "output": None, "error": {"code": "stage_failed"}},
    ]
    assert repr(output) == "<3 rows of 'm'>"
