"""Stores of older and newer versions."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import diskcache
import pytest

from po_jupyter.errors import StoreUnusable
from po_jupyter.model.run.view import ENDED
from po_jupyter.store.disk import migrations
from po_jupyter.store.disk.json_disk import JsonDisk
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.keyed import run_index as index
from po_jupyter.testing.conformance.store import event, new_run


def test_a_newer_format_is_refused(path: Path) -> None:
    """Issue 2: a store written by a newer version is refused with a plain message."""
    DiskStore(path).close()
    with diskcache.Cache(str(path / "documents"), disk=JsonDisk) as cache:
        cache[migrations.ROW] = {"version": migrations.FORMAT + 1, "shards": 8, "migrations": []}
    with pytest.raises(StoreUnusable, match="newer po_jupyter") as caught:
        DiskStore(path)
    assert "Upgrade" in caught.value.hint


def test_the_format_is_read_again_when_somebody_wrote_to_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older version writes nothing any more; and it need not read the format for every run."""
    store = DiskStore(path)
    checked: list[object] = []
    check = migrations.check
    monkeypatch.setattr(migrations, "check", lambda row, where: (checked.append(row), check(row, where)))
    for file in (path / "documents").iterdir():
        os.utime(file, (0, 0))  # not just now
    for number in range(3):
        store.create_run(new_run(run=f"run{number}"))
    assert len(checked) == 1
    store.put("kind", "name", 1)
    before = len(checked)
    for number in range(3, 6):
        store.create_run(new_run(run=f"run{number}"))
    assert len(checked) == before + 3, (
        "the clock of files does not tell two writes apart that are close together"
    )
    for file in (path / "documents").iterdir():
        os.utime(file, (0, 0))
    store.create_run(new_run(run="run6"))
    with diskcache.Cache(str(path / "documents"), disk=JsonDisk) as cache:
        cache[migrations.ROW] = {"version": migrations.FORMAT + 1, "shards": 8, "migrations": []}
    with pytest.raises(StoreUnusable, match="newer po_jupyter"):
        store.create_run(new_run(run="run7"))
    store.close()


def test_the_format_is_read_when_the_files_cannot_be_looked_at(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was never seen looked like what cannot be seen: nothing was ever checked."""
    store = DiskStore(path)
    with diskcache.Cache(str(path / "documents"), disk=JsonDisk) as cache:
        cache[migrations.ROW] = {"version": migrations.FORMAT + 1, "shards": 8, "migrations": []}
    monkeypatch.setattr(store, "_documents_stamp", lambda: ())
    for number in range(2):
        with pytest.raises(StoreUnusable, match="newer po_jupyter"):
            store.create_run(new_run(run=f"run{number}"))
    store.close()


def test_migrations_are_applied_once_in_order_and_recorded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DiskStore(path)
    store.put("k", "a", [])
    store.close()
    applied: list[str] = []

    def step(name: str, fails: bool = False) -> Any:
        def apply(store: Any) -> None:
            applied.append(name)
            if fails:
                raise RuntimeError(name)
            store.put("k", "a", [*store.get("k", "a"), name])

        return name, apply

    monkeypatch.setattr(migrations, "MIGRATIONS", (step("one"), step("two", fails=True)))
    with pytest.raises(RuntimeError, match="two"):
        DiskStore(path)
    monkeypatch.setattr(migrations, "MIGRATIONS", (step("one"), step("two"), step("three")))
    for _ in range(2):
        store = DiskStore(path)
        assert store.get("k", "a") == ["one", "two", "three"]
        store.close()
    assert applied == ["one", "two", "two", "three"]
    monkeypatch.undo()


def test_a_store_of_an_older_version_opens_and_becomes_todays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R2.3: written before runs were listed as active, by a version that knew no migrations. The older version
    refuses it from then on."""
    store = DiskStore(path, shards=2)
    for run in ("00a1", "00a2", "00a3"):
        store.create_run(new_run(run))
    store.request("00a2", [event("run.done")], state="done")
    for shard in range(2):
        store._at(shard, lambda rows: rows.erase("active"), write=True)
    store._at(-1, lambda rows: rows.write(migrations.ROW, {"version": 1, "shards": 2}), write=True)
    assert store.active() == []
    store.close()

    def list_active(store: Any) -> None:
        for head in store.runs(limit=1000).heads:
            listed = head["state"] not in ENDED
            work = partial(index.set_active, run=head["run"], is_active=listed)
            store._at(store._shard(head["run"]), work, write=True)

    with monkeypatch.context() as newer:
        newer.setattr(migrations, "FORMAT", 2)
        newer.setattr(migrations, "MIGRATIONS", (("list-active", list_active),))
        store = DiskStore(path)
        assert [h["run"] for h in store.active()] == ["00a1", "00a3"]
        assert len(store.runs().heads) == 3
        store.close()
        DiskStore(path).close()
    with pytest.raises(StoreUnusable, match="newer po_jupyter"):
        DiskStore(path)


def test_a_new_store_needs_no_migration(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(store: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(migrations, "MIGRATIONS", (("one", never),))
    for _ in range(2):
        DiskStore(path).close()
