"""P4: diskcache as a durable store that knows JSON only, and never loads what it did not write."""

from __future__ import annotations

import pickle
import sqlite3
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import CorruptRow, InvalidInput
from po_jupyter.store import json_codec as jsontext
from po_jupyter.store.disk.json_disk import SETTINGS, JsonDisk, ShardCache
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import Commit
from po_jupyter.testing.conformance.store import event
from tests.support.disk_store import RUN, Bomb, plain, sql


def test_a_pickled_value_is_refused_and_not_executed(store: DiskStore, path: Path, tmp_path: Path) -> None:
    """P4; issue 1, done when 7."""
    trace = tmp_path / "executed"
    with plain(path) as attacker:
        attacker[f"head/{RUN}"] = Bomb(trace)
        attacker[f"c/{RUN}/00000001"] = Bomb(trace)
    with pytest.raises(CorruptRow) as caught:
        store.head(RUN)
    assert "pickle" in caught.value.message
    assert f"head/{RUN}" in caught.value.message
    assert "cache.db" in caught.value.message
    assert caught.value.hint
    for ask in (
        lambda: store.claim(RUN, {}),
        lambda: store.request(RUN, [event("x")]),
        lambda: store.events(RUN),
    ):
        with pytest.raises(CorruptRow):
            ask()
    store.runs()  # the others stand
    store.active()
    assert not trace.exists()
    with plain(path) as victim:  # the row is a real bomb: whoever does not refuse it, executes it
        victim[f"head/{RUN}"]
    assert trace.exists()


def test_a_pickled_value_in_a_file_is_refused_and_not_executed(
    store: DiskStore, path: Path, tmp_path: Path
) -> None:
    """P4."""
    trace = tmp_path / "executed"
    with plain(path, disk_min_file_size=0) as attacker:
        attacker[f"head/{RUN}"] = Bomb(trace)
    with pytest.raises(CorruptRow):
        store.head(RUN)
    assert not trace.exists()


@pytest.mark.parametrize("value", [b"x" * 100_000, "y" * 100_000], ids=["binary", "text"])
def test_a_value_in_a_file_is_refused(store: DiskStore, path: Path, value: Any) -> None:
    """P4, P6: a row cannot make us read, or delete, a file."""
    with plain(path, disk_min_file_size=0) as attacker:
        attacker[f"head/{RUN}"] = value
    with pytest.raises(CorruptRow):
        store.head(RUN)


def test_a_file_that_a_row_names_is_not_deleted(store: DiskStore, path: Path, tmp_path: Path) -> None:
    """P6."""
    precious = tmp_path / "precious"
    precious.write_text("mine")
    sql(path, "UPDATE Cache SET filename = ? WHERE key = ?", str(precious), f"c/{RUN}/00000001")
    store.request(RUN, [], "done")
    store.delete_run(RUN)
    assert precious.read_text() == "mine"


def test_a_pickled_key_is_refused_and_not_executed(store: DiskStore, path: Path, tmp_path: Path) -> None:
    """P4; issue 1, done when 7."""
    trace = tmp_path / "executed"
    sql(
        path,
        "INSERT INTO Cache (key, raw, store_time, mode, value) VALUES (?, 0, 0, 1, ?)",
        pickle.dumps(Bomb(trace)),
        b"j1",
    )
    assert store.head(RUN)["run"] == RUN  # rows are found by text keys: nobody ever looks at this one
    assert len(store.runs().heads) == 1
    (wrong,) = store.verify()
    assert "pickled" in wrong
    with pytest.raises(jsontext.Unreadable, match="pickled"):
        JsonDisk(str(path)).get(pickle.dumps(Bomb(trace)), 0)
    assert not trace.exists()


def test_a_key_of_bytes_is_no_text_key(store: DiskStore, path: Path) -> None:
    """P4."""
    with plain(path) as attacker:
        attacker[f"head/{RUN}".encode()] = b"j{}"
        attacker[b"head/00a2"] = b"j{}"
    assert store.head(RUN)["run"] == RUN
    assert len(store.verify()) == 1


@pytest.mark.parametrize(
    "value",
    [
        1,
        1.5,
        "text",
        None,
        b"",
        b"x",
        b"jnot json",
        b"z",
        b"znot zlib",
        b"z" + zlib.compress(b"1")[:-3],
        b'j{"a":',
    ],
)
def test_a_row_that_we_did_not_write_is_refused(store: DiskStore, path: Path, value: Any) -> None:
    """P4."""
    sql(path, "UPDATE Cache SET value = ? WHERE key = ?", value, f"head/{RUN}")
    with pytest.raises(CorruptRow) as caught:
        store.head(RUN)
    assert f"head/{RUN}" in caught.value.message


def test_a_compression_bomb_is_not_unfolded(
    store: DiskStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6: what a row unfolds to is bounded, whatever it says."""
    monkeypatch.setattr(jsontext, "LARGEST", 2**20)
    bomb = b"z" + zlib.compress(b" " * 50 * 2**20, 9)
    sql(path, "UPDATE Cache SET value = ? WHERE key = ?", bomb, f"head/{RUN}")
    with pytest.raises(CorruptRow, match="unfolds to more"):
        store.head(RUN)


def test_a_value_too_large_for_a_row_is_refused_before_it_is_written(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P11."""
    monkeypatch.setattr(jsontext, "LARGEST", 2**20)
    with pytest.raises(InvalidInput, match="artifact"):
        store.commit(store.claim(RUN, {}), Commit(payloads=["x" * 2**21]))


def test_nothing_that_we_write_is_a_pickle(store: DiskStore, path: Path) -> None:
    """P4."""
    lease = store.claim(RUN, {"pid": 1})
    store.commit(lease, Commit(events=[event("x")], payloads=[{"big": "text " * 20_000}], state="running"))
    rows = sql(path, "SELECT raw, typeof(key), mode, filename, typeof(value) FROM Cache")
    assert {tuple(row) for row in rows} == {(1, "text", 1, None, "blob")}
    assert store.verify() == []
    assert [p.name for p in (path / "runs-0").iterdir() if not p.name.startswith("cache.db")] == []


def test_nothing_is_evicted(store: DiskStore, path: Path) -> None:
    """P12: diskcache's defaults delete what was stored first, past 1 GB."""
    cache = ShardCache(path / "runs-0")
    try:
        assert cache.eviction_policy == "none"
        assert cache.cull_limit == 0
        assert cache.size_limit > 2**60
        cache.reset("size_limit", 1)  # far beyond the limit already; every write would cull
        for i in range(50):
            store.request(RUN, [event("x", text="y" * 1000, i=i)])
        assert cache.cull() == 0
    finally:
        cache.close()
    assert len(store.events(RUN)) == 51


def test_every_connection_commits_durably(path: Path) -> None:
    """P2: FULL on each connection, although opening uses NORMAL for a moment."""
    DiskStore(path).close()
    cache = ShardCache(path / "documents")
    answers: list[Any] = []

    def look() -> None:
        answers.append([cache.reset(f"sqlite_{name}") for name in ("synchronous", "journal_mode")])
        answers.append(
            [cache._sql(f"PRAGMA {name}").fetchall()[0][0] for name in ("synchronous", "busy_timeout")]
        )
        cache.close()

    look()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert answers == [[2, "wal"], [2, SETTINGS["sqlite_busy_timeout"]]] * 2


def test_opening_a_shard_that_was_made_writes_nothing(store: DiskStore, path: Path) -> None:
    """A worker opens its shard once per run; ten of them must not queue up for its lock to do so."""
    watching = sqlite3.connect(path / "runs-0" / "cache.db", isolation_level=None)
    watching.execute("BEGIN IMMEDIATE")  # whoever wrote now would wait, and fail
    try:
        cache = ShardCache(path / "runs-0")
        assert cache.get(f"head/{RUN}")["run"] == RUN
        assert {name: getattr(cache, name) for name in SETTINGS if not name.startswith("disk_")}.items() <= (
            SETTINGS.items()
        )
        cache.close()
    finally:
        watching.close()


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM Settings WHERE key = 'po_jupyter_whole'",  # whoever made it was killed before the end
        "UPDATE Settings SET value = 0 WHERE key = 'sqlite_synchronous'",
        "DROP INDEX Cache_key_raw; DELETE FROM Settings",
    ],
)
def test_a_shard_that_is_not_whole_is_made_whole(store: DiskStore, path: Path, damage: str) -> None:
    """P2: a process may die while it makes a shard, and another program may change one."""
    store.close()
    for statement in damage.split("; "):
        sql(path, statement)
    store.request(RUN, [event("x")])
    assert len(store.events(RUN)) == 2
    found = dict(sql(path, "SELECT key, value FROM Settings"))
    assert SETTINGS.items() <= found.items()
    made = {row[0] for row in sql(path, "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")}
    assert made == {"Settings", "Cache", "Cache_key_raw"}
