"""Snapshots of folded runs: they save the fold, and are never believed against the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from po_jupyter.engine.state.state_json import FOLD_VERSION
from po_jupyter.errors import StoreUnusable
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.views import snapshots
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.keyed.memory import MemoryStore
from tests.support.stored_runs import RUN, store_run


class CountingStore(MemoryStore):
    """Counts the events that are read."""

    read = 0

    def events(self, *args: Any, **more: Any) -> Any:
        found = super().events(*args, **more)
        self.read += len(found)
        return found


def ended() -> CountingStore:
    store = CountingStore()
    store_run(store)
    store.request(RUN, [draft("run.started"), draft("task.started", "one", attempt=1)], state="running")
    store.request(RUN, [draft("task.skipped", "one", reason="why"), draft("run.done")], state="done")
    return store


def look(store: MemoryStore) -> Any:
    """What somebody sees who has just started."""
    return RunProjections(store).view(store.head(RUN)).model_dump()


def test_a_run_that_ended_is_folded_once() -> None:
    store = ended()
    first = look(store)
    assert (first["state"], store.read) == ("done", 5)
    assert look(store) == first
    assert store.read == 5


def test_what_came_after_the_snapshot_is_folded_on_top() -> None:
    store = ended()
    look(store)
    store.read = 0
    store.request(RUN, [draft("run.resumed", by="me", reset=["one"])], state="pending")
    assert look(store)["state"] == "pending"
    assert store.read == 1
    plain = CountingStore()
    plain._rows = {key: row for key, row in store._rows.items() if not key.startswith("snap/")}
    assert look(plain) == look(store)


def test_a_run_that_goes_on_is_kept_every_so_many_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "EVERY", 10)
    store = CountingStore()
    store_run(store)
    look(store)
    assert store.snapshots([RUN]) == {}
    store.request(RUN, [draft("task.stage", "one", stage=f"s{i}", round=0) for i in range(10)])
    look(store)
    assert store.snapshots([RUN])[RUN]["state"]["offset"] == 11


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: {**value, "fold": FOLD_VERSION + 1},
        lambda value: {**value, "state": {**value["state"], "offset": 99}},
        lambda value: {**value, "state": {**value["state"], "run": "f" * 22}},
        lambda value: {**value, "state": {**value["state"], "tasks": 5}},
        lambda value: {**value, "state": {**value["state"], "tasks": [{}]}},
        lambda value: {**value, "state": {**value["state"], "offset": "x"}},
        lambda value: {**value, "state": None},
        lambda value: {**value, "seed": "x"},
        lambda value: {"fold": FOLD_VERSION},
        lambda value: [1, 2],
        lambda value: "text",
    ],
)
def test_a_snapshot_that_is_not_what_it_should_be_is_passed_over(spoil: Callable[[Any], Any]) -> None:
    store = ended()
    view = look(store)
    store.keep_snapshots({RUN: spoil(store.snapshots([RUN])[RUN])})
    assert look(store) == view


def test_a_row_that_cannot_be_read_is_none() -> None:
    store = ended()
    view = look(store)
    store._rows[f"snap/{RUN}"] = b"{"
    assert look(store) == view


def test_a_snapshot_goes_with_its_run_and_none_is_left_of_one_that_is_gone() -> None:
    store = ended()
    look(store)
    kept = store.snapshots([RUN])
    store.delete_run(RUN)
    store.keep_snapshots(kept)
    assert [key for key in store._rows if key.startswith("snap/")] == []


def test_a_store_that_cannot_be_written_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """P7: a full disk."""
    store = ended()

    def refuse(values: Any) -> None:
        raise StoreUnusable("no room")

    monkeypatch.setattr(store, "keep_snapshots", refuse)
    assert look(store)["state"] == "done"


def test_a_state_that_is_too_large_is_folded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "_LARGEST", 10)
    store = ended()
    assert look(store)["state"] == "done"
    assert store.snapshots([RUN]) == {}


def test_a_list_reads_its_snapshots_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ended()
    reads: list[int] = []
    read = store.snapshots
    monkeypatch.setattr(store, "snapshots", lambda runs: reads.append(len(runs)) or read(runs))
    for i in range(5):
        store_run(store, run=f"{i:022x}")
    heads = store.runs(limit=10).heads
    folded = RunProjections(store).fold_all(heads)
    assert reads == [6]
    assert set(folded) == {head["run"] for head in heads}


def test_a_store_without_snapshots_is_a_store_still() -> None:
    """One that somebody else wrote."""
    store = ended()

    class Plain:
        head, events, definition = store.head, store.events, store.definition

    view = RunProjections(Plain()).view(store.head(RUN))  # that is what is tested
    assert view.state == "done"
