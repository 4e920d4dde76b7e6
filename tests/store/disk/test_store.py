"""What only the disk store promises: hardened diskcache, private files, survival of kill -9, plain messages."""

from __future__ import annotations

import os
import pickle
import signal
import sqlite3
import stat
import sys
import threading
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import diskcache
import pytest

from po_jupyter.errors import CorruptRow, InvalidInput, StoreUnusable
from po_jupyter.model.run.view import ENDED
from po_jupyter.platform import private_dir
from po_jupyter.platform.private_dir import Mount
from po_jupyter.store import json_codec as jsontext
from po_jupyter.store.disk import migrations
from po_jupyter.store.disk.json_disk import SETTINGS, JsonDisk, ShardCache
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.keyed import run_index as index
from po_jupyter.store.protocol import Commit, NewRun, Ref
from po_jupyter.testing.conformance.store import elsewhere, event, new_run

OPENER = "from po_jupyter.store.disk.store import DiskStore; store = DiskStore({path!r})"
RUN = "00a1"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> Iterator[DiskStore]:
    store = DiskStore(path, shards=1)
    store.create_run(new_run(RUN))
    yield store
    store.close()


def sql(path: Path, statement: str, *values: Any) -> list[Any]:
    connection = sqlite3.connect(path / "runs-0" / "cache.db")
    try:
        with connection:
            return connection.execute(statement, values).fetchall()
    finally:
        connection.close()


class Bomb:
    """Its pickle, when loaded, leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


# -- P4: only JSON -------------------------------------------------------------------------------
def plain(path: Path, **settings: Any) -> diskcache.Cache:
    return diskcache.Cache(str(path / "runs-0"), **settings)


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
        lambda: store.runs(),
        lambda: store.active(),
        lambda: store.delete_run(RUN),
    ):
        with pytest.raises(CorruptRow):
            ask()
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


def test_a_missing_record_is_said_and_not_skipped(store: DiskStore, path: Path) -> None:
    """P8: a gap is an error, never a shorter history."""
    for i in range(3):
        store.request(RUN, [event("x", i=i)])
    sql(path, "DELETE FROM Cache WHERE key = ?", f"c/{RUN}/00000003")
    with pytest.raises(CorruptRow, match="record 3"):
        store.events(RUN)


# -- a durable store, not a cache ----------------------------------------------------------------
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


def test_an_existing_store_keeps_its_shards(path: Path) -> None:
    """A run is found by the hash of its id over the number of shards."""
    with_three = DiskStore(path, shards=3)
    for i in range(20):
        with_three.create_run(new_run(f"{i:04x}"))
    with_three.close()
    again = DiskStore(path, shards=8)
    assert again.shards == 3
    assert len(again.runs().heads) == 20
    again.close()


def test_reading_makes_no_shards(path: Path) -> None:
    store = DiskStore(path)
    assert store.runs().heads == []
    assert store.active() == []
    store.close()
    assert [p.name for p in path.iterdir()] == ["documents"]


def test_a_key_reserved_before_a_crash_is_redeemed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R3.3: a crash between the reservation and the run loses neither."""
    store = DiskStore(path)
    at = store._at

    def crash(shard: int, *args: Any, **named: Any) -> Any:
        if shard >= 0:
            raise KeyboardInterrupt
        return at(shard, *args, **named)

    monkeypatch.setattr(store, "_at", crash)
    with pytest.raises(KeyboardInterrupt):
        store.create_run(new_run("00a1", idempotency_key="k", request_hash="h"))
    monkeypatch.undo()
    assert store.runs().heads == []
    head, created = store.create_run(new_run("00a2", idempotency_key="k", request_hash="h"))
    assert (head["run"], created) == ("00a1", True)
    assert store.create_run(new_run("00a3", idempotency_key="k", request_hash="h"))[1] is False
    store.close()


def test_ten_shards_worth_of_threads_open_few_files(path: Path) -> None:
    """A server's thread pool does not multiply connections, and close() releases all of them."""
    store = DiskStore(path)
    for i in range(30):
        store.create_run(new_run(f"{i:04x}"))
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    threads = [threading.Thread(target=store.runs) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
    store.close()
    if before:
        assert not [f for f in os.listdir("/proc/self/fd") if "cache.db" in _target(f)]


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


# -- crashes -------------------------------------------------------------------------------------
def test_kill_9_loses_no_acknowledged_commit_and_leaves_none_half(path: Path) -> None:
    """P2; issue 1, done when 4."""
    code = f"""
        from po_jupyter.store.protocol import Commit
        lease = store.claim({RUN!r}, {{"pid": 1}})
        i = 0
        while True:
            events = [{{"type": "x", "data": {{"i": i, "part": part}}}} for part in range(3)]
            head = store.commit(lease, Commit(events=events, payloads=[{{"i": i, "text": "x" * 3000}}]))
            print(head["n"], flush=True)
            i += 1
    """
    store = DiskStore(path)
    store.create_run(new_run(RUN))
    acknowledged = 1
    for round in range(3):
        child = elsewhere(code, OPENER, str(path))
        assert child.stdout is not None and child.stderr is not None and child.stdin is not None
        for _ in range(40 + round * 7):
            line = child.stdout.readline()
            assert line, child.stderr.read()
            acknowledged = int(line)
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate(timeout=30)
        acknowledged = int(rest.split()[-1]) if rest.endswith("\n") else acknowledged
        head = store.head(RUN)
        assert head["n"] >= acknowledged
        assert [e["offset"] for e in store.events(RUN, limit=10**6)] == list(range(1, head["offset"] + 1))
        for record in store.records(RUN, after=1):
            assert [e["data"]["part"] for e in record["events"]] == [0, 1, 2]
            assert store.payload(RUN, Ref(record["n"], 0))["i"] == record["events"][0]["data"]["i"]
    assert store.verify() == []
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_closed_store_works_in_a_forked_child(path: Path) -> None:
    """DESIGN 5: workers are forked; the parent closes first and goes on afterwards."""
    code = """
        import os, sys
        from po_jupyter.store.protocol import Commit, NewRun
        for i in range(4):
            store.create_run(NewRun(f"00a{i}", "ada", "p", "1.0.0", "n", 0, {}, []))
        store.close()
        children = []
        for i in range(4):
            child = os.fork()
            if child == 0:
                lease = store.claim(f"00a{i}", {"pid": os.getpid()})
                for n in range(10):
                    store.commit(lease, Commit(events=[{"type": "x", "data": {"n": n}}]))
                store.close()
                os._exit(0)
            children.append(child)
        for i in range(10):
            store.request("00a0", [{"type": "asked", "data": {}}])
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
        assert [store.head(f"00a{i}")["offset"] for i in range(4)] == [20, 10, 10, 10]
        store.close()
    """
    child = elsewhere(code, OPENER, str(path))
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_of_a_parent_that_forgot_to_close_connects_anew(path: Path) -> None:
    code = """
        import os
        from po_jupyter.store.protocol import NewRun
        store.create_run(NewRun("00a1", "ada", "p", "1.0.0", "n", 0, {}, []))
        child = os.fork()
        if child == 0:
            store.claim("00a1", {"pid": 1})
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert store.head("00a1")["fence"] == 1
        store.close()
    """
    child = elsewhere(code, OPENER, str(path))
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors


# -- where a store may be ------------------------------------------------------------------------
@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_everything_is_private(path: Path) -> None:
    """R1.3: other users of the machine read nothing."""
    old = os.umask(0)
    try:
        store = DiskStore(path)
        store.create_run(new_run(RUN))
    finally:
        os.umask(old)
    modes = {p: stat.S_IMODE(p.stat().st_mode) for p in (path, *path.rglob("*"))}
    store.close()
    assert {mode for p, mode in modes.items() if p.suffix == "" and "cache.db" not in p.name} == {0o700}
    files = {p.name: mode for p, mode in modes.items() if "cache.db" in p.name}
    assert set(files) == {"cache.db", "cache.db-wal", "cache.db-shm"}
    assert set(files.values()) == {0o600}


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_an_open_directory_is_closed_to_others(path: Path) -> None:
    path.mkdir(mode=0o755)
    DiskStore(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_directory_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R1.3."""
    path.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(StoreUnusable, match="another user") as caught:
        DiskStore(path)
    assert "PO_DATA_DIR" in caught.value.hint


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    """P11."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusable, match="cannot be made"):
        DiskStore(tmp_path / "file" / "store")
    with pytest.raises(StoreUnusable):
        DiskStore(tmp_path / "file")


def test_a_network_file_system_is_refused_with_a_way_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P11: a plain message instead of a hang."""
    monkeypatch.setattr(private_dir, "mounts", lambda: [Mount("/", "nfs4")])
    with pytest.raises(StoreUnusable, match=r"network file system \(nfs4\)") as caught:
        DiskStore(path)
    assert "PO_DATA_DIR" in caught.value.hint
    DiskStore(path, allow_network=True).close()


def test_a_newer_format_is_refused(path: Path) -> None:
    """Issue 2: a store written by a newer version is refused with a plain message."""
    DiskStore(path).close()
    with diskcache.Cache(str(path / "documents"), disk=JsonDisk) as cache:
        cache[migrations.ROW] = {"version": migrations.FORMAT + 1, "shards": 8, "migrations": []}
    with pytest.raises(StoreUnusable, match="newer po_jupyter") as caught:
        DiskStore(path)
    assert "Upgrade" in caught.value.hint


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


# -- when the disk says no -----------------------------------------------------------------------
def test_a_full_disk_changes_nothing_and_says_so(store: DiskStore) -> None:
    """P11, P12: the state is as before, and the run goes on when there is space."""
    lease = store.claim(RUN, {"pid": 1})

    def limit(pages: int | None) -> None:
        def work(rows: Any) -> None:
            cache = rows._cache
            used = cache.reset("sqlite_page_count", 0, update=False) if pages is None else pages
            cache._sql(f"PRAGMA max_page_count = {used or 2**30}").fetchall()

        store._at(0, work)

    limit(1)  # SQLite raises it to what is used now
    before = store.head(RUN)
    with pytest.raises(StoreUnusable, match="disk is full") as caught:
        for i in range(50):
            store.commit(
                lease, Commit(events=[event("x", i=i)], payloads=[os.urandom(5000).hex()], state="running")
            )
    assert caught.value.hint
    after = store.head(RUN)
    assert len(list(store.records(RUN))) == after["n"]
    assert after["n"] - before["n"] < 5
    limit(None)
    assert store.commit(lease, Commit(events=[event("y")]))["n"] == after["n"] + 1
    assert [e["offset"] for e in store.events(RUN)] == list(range(1, after["offset"] + 2))


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_a_read_only_directory_is_said_at_once(path: Path) -> None:
    """P11. In a process without root's rights, which would ignore modes."""
    code = """
        import os, tempfile
        from pathlib import Path
        from po_jupyter.errors import StoreUnusable
        from po_jupyter.store.disk.store import DiskStore
        store.close()
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)

        def said(work):
            try:
                work()
            except StoreUnusable as error:
                print(error.message)

        with tempfile.TemporaryDirectory() as base:
            base = Path(base)
            DiskStore(base / "mine").close()
            base.chmod(0o500)
            said(lambda: DiskStore(base / "new"))
            (base / "mine" / "documents" / "cache.db").chmod(0o400)
            (base / "mine" / "documents").chmod(0o500)
            said(lambda: DiskStore(base / "mine").put("k", "a", 1))
            (base / "mine" / "documents").chmod(0o700)
            base.chmod(0o700)
    """
    child = elsewhere(code, OPENER, str(path))
    out, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    first, second = out.splitlines()
    assert "cannot be made: Permission denied" in first
    assert "documents cannot be used: Permission denied" in second


def test_a_lock_that_is_not_given_back_is_said(path: Path) -> None:
    """P11: a plain message instead of a hang."""
    store = DiskStore(path, shards=1, patience=0.2)
    store.create_run(new_run(RUN))

    def impatient(rows: Any) -> None:
        rows._cache.reset("sqlite_busy_timeout", 100, update=False)

    store._at(0, impatient)
    blocker = sqlite3.connect(path / "runs-0" / "cache.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnusable, match="locked"):
        store.request(RUN, [event("x")])
    assert store.head(RUN)["n"] == 1  # readers are not kept waiting
    blocker.execute("ROLLBACK")
    blocker.close()
    assert store.request(RUN, [event("x")])["n"] == 2
    store.close()


def test_a_damaged_file_is_said(path: Path) -> None:
    """P11."""
    store = DiskStore(path, shards=1)
    store.create_run(new_run(RUN))
    store.close()
    (path / "runs-0" / "cache.db").write_bytes(b"this is not a database at all, " * 1000)
    again = DiskStore(path)
    with pytest.raises(StoreUnusable, match=r"runs-0.*not a database"):
        again.head(RUN)
    again.close()


def test_a_run_in_a_store_has_no_secrets_of_its_own_in_errors(store: DiskStore, path: Path) -> None:
    """P10: an error names the row, never what is in it."""
    store.create_run(NewRun("00a2", "ada", "p", "1.0.0", "n", 0, {"env": {"KEY": "sk-secret"}}, []))
    sql(path, "UPDATE Cache SET value = value || 'x' WHERE key = ?", "def/00a2")
    sql(path, "UPDATE Cache SET value = CAST(value AS BLOB) WHERE key = ?", "def/00a2")
    with pytest.raises(CorruptRow) as caught:
        store.definition("00a2")
    assert "sk-secret" not in str(caught.value) + str(caught.value.details)
