"""Runs from another store: whole or not at all, and nothing that no store writes."""

from __future__ import annotations

import json

import pytest

from po_jupyter.errors import Conflict, InvalidInput, NotFound
from po_jupyter.model.run.events import draft
from po_jupyter.platform.processes import myself
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.keyed.run_import import RunImport, RunRow, rows_of
from po_jupyter.store.protocol import Commit, NewRun

RUN = "0" * 22
AT = "2026-11-27T12:00:00.000Z"


def source() -> MemoryStore:
    store = MemoryStore()
    store.create_run(NewRun(RUN, "me", "p", "1", "n", 0, {"pipeline": {}}, [draft("run.started")]))
    lease = store.claim(RUN, myself())
    item = {"task": "t", "index": 0, "ok": True, "output": 0}
    store.commit(lease, Commit(items=[item], payloads=["an answer"], release=True))
    return store


def test_a_run_is_there_with_all_that_is_its_own_once_it_is_finished() -> None:
    old, new = source(), MemoryStore()
    head = old.head(RUN)
    importing = RunImport(new, RUN)
    events = [event for row in rows_of(old, RUN, head["n"]) for event in importing.add(row)]
    assert [(event["type"], event["offset"]) for event in events] == [("run.started", 1)]
    with pytest.raises(NotFound):
        new.head(RUN)
    importing.finish({**head, "owner": "you"}, {"pipeline": {}}, [draft("run.done")])
    assert new.head(RUN)["owner"] == "you"
    assert new.head(RUN)["n"] == head["n"] + 1
    assert [head["run"] for head in new.active()] == [RUN]
    assert new.payloads(RUN, 2) == ["an answer"]
    assert list(new.records(RUN))[:2] == list(old.records(RUN))
    importing.abort()  # changes nothing any more
    assert new.payloads(RUN, 2) == ["an answer"]
    with pytest.raises(Conflict):
        RunImport(new, RUN)


def test_what_was_not_finished_leaves_nothing_behind() -> None:
    old, new = source(), MemoryStore()
    importing = RunImport(new, RUN)
    rows = list(rows_of(old, RUN, 2))
    importing.add(rows[0])
    with pytest.raises(InvalidInput, match="not whole"):
        importing.finish(old.head(RUN), {}, [])
    importing.abort()
    RunImport(new, RUN)
    with pytest.raises(NotFound):
        new.head(RUN)


GOOD = {"at": AT, "fence": 0, "first": 1, "events": [{"type": "x", "at": AT, "data": {}}]}


@pytest.mark.parametrize(
    ("kind", "n", "value"),
    [
        ("c", 2, GOOD), ("p", 1, [[1], 1]), ("x", 1, GOOD), ("c", 1, []), ("c", 1, {**GOOD, "first": 5}),
        ("c", 1, {**GOOD, "fence": "0"}), ("c", 1, {**GOOD, "more": 1}), ("c", 1, {**GOOD, "events": [1]}),
        ("c", 1, {**GOOD, "events": [{"type": 1, "at": AT, "data": {}}]}),
        ("c", 1, {**GOOD, "events": [{"type": "x", "at": AT, "data": {}, "offset": 9}]}),
    ],
)  # fmt: skip
def test_rows_that_no_store_writes_are_refused(kind: str, n: int, value: object) -> None:
    with pytest.raises(InvalidInput):
        RunImport(MemoryStore(), RUN).add(RunRow(kind, n, json.dumps(value).encode()))


@pytest.mark.parametrize("text", [b"{", b"NaN", b'[[99],"a"]', b'{"a":1,"a":2}'])
def test_payloads_that_cannot_be_read_are_refused(text: bytes) -> None:
    importing = RunImport(MemoryStore(), RUN)
    importing.add(RunRow("c", 1, json.dumps(GOOD).encode()))
    with pytest.raises(InvalidInput):
        importing.add(RunRow("p", 1, text))
