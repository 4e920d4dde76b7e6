"""C10: what is in an archive of `po backup`, and what `po restore` refuses. With runs at work: tests/crash."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from po_jupyter.errors import Conflict, InvalidInput, NotFound, StoreUnusable
from po_jupyter.orchestrator.maintenance import backup, backup_program, restore
from po_jupyter.orchestrator.maintenance.archive import ArchiveWriter
from po_jupyter.orchestrator.maintenance.backup import back_up
from po_jupyter.store.disk import migrations
from po_jupyter.store.disk.call_cache import AnswerCache
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.testing.conformance.store import event, new_run
from tests.support.backups import RUNS, make, restored, write


@pytest.mark.parametrize("shards", [1, 8])
def test_everything_is_in_it_and_comes_back(tmp_path: Path, shards: int) -> None:
    data_dir, there = tmp_path / "data", tmp_path / "there"
    original = make(data_dir, shards)  # it stays open: a server is at work
    report = back_up(data_dir, tmp_path / "a.tar.gz")
    assert report["store"] == {"runs": 4, "records": 7, "documents": 1}
    assert report["files"]["files"] == 7
    copy = restored(tmp_path / "a.tar.gz", there)
    assert [head["run"] for head in copy.runs().heads] == RUNS[::-1]
    for run in RUNS:
        assert list(copy.records(run)) == list(original.records(run))
        assert copy.definition(run) == original.definition(run)
        assert (there / "runs" / run / "artifacts" / "a" / "1-1" / "out.txt").read_text() == f"of {run}"
    assert [head["run"] for head in copy.active()] == RUNS[2:]
    assert copy.get("pipeline", "p") == {"name": "p"}
    assert copy.create_run(new_run("01a218f49251499a5f97ff", idempotency_key="key-1"))[0]["run"] == RUNS[1]
    assert (there / "blobs" / "me" / f"{'0' * 64}.ndjson").read_text() == "1\n2\n"
    original.close()
    copy.close()


def test_the_copy_is_held_by_nobody_and_has_nothing_of_the_processes(tmp_path: Path, archive: Path) -> None:
    """Else a server on the same machine would take the original's workers for its own."""
    there = tmp_path / "there"
    copy = restored(archive, there)
    assert copy.get("lease", "orchestrator") is None
    assert copy.head(RUNS[3])["holder"] is None
    assert copy.head(RUNS[3])["state"] == "running"
    assert sorted(os.listdir(there)) == ["audit", "blobs", "keys.json", "runs", "store"]
    copy.close()


def test_keys_stay_with_their_user(tmp_path: Path, data_dir: Path, archive: Path) -> None:
    there = tmp_path / "there"
    restored(archive, there).close()
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    for path in (there, *there.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert (there / "keys.json").read_text() == (data_dir / "keys.json").read_text()


def test_a_backup_changes_nothing_and_leaves_nothing_else(tmp_path: Path, data_dir: Path) -> None:
    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in data_dir.rglob("*") if path.is_file()}

    before = contents()
    back_up(data_dir, tmp_path / "a.tar.gz")
    assert contents() == before
    assert sorted(os.listdir(tmp_path)) == ["a.tar.gz", "data"]


def test_a_backup_by_a_newer_version_migrates_neither_the_store_nor_the_copy(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(migrations, "FORMAT", migrations.FORMAT + 1)
        newer.setattr(migrations, "MIGRATIONS", (("step", lambda store: store.put("k", "a", 1)),))
        back_up(data_dir, tmp_path / "a.tar.gz")
    DiskStore(data_dir / "store").close()
    copy = restored(tmp_path / "a.tar.gz", tmp_path / "there")
    assert copy.get("k", "a") is None
    copy.close()


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path, data_dir: Path) -> None:
    store = DiskStore(data_dir / "store")
    row = {"version": migrations.FORMAT + 1, "shards": 2, "migrations": []}
    store._at(-1, lambda shard: shard.write(migrations.ROW, row), write=True)
    store.close()
    with pytest.raises(StoreUnusable, match="newer po_jupyter"):
        back_up(data_dir, tmp_path / "a.tar.gz")
    assert not (tmp_path / "a.tar.gz").exists()


def test_artifacts_are_copied_byte_by_byte_and_databases_in_use_as_they_are(
    tmp_path: Path, data_dir: Path
) -> None:
    """The log has an artifact's hash, also of one that is a database; what is in a write-ahead log is in the copy."""
    run = data_dir / "runs" / RUNS[3]
    artifact = run / "artifacts" / "a" / "1-1" / "made.db"
    with closing(sqlite3.connect(artifact)) as database, database:
        database.execute("create table t (n)")
    answers = AnswerCache(data_dir / "cache", max_bytes=10**8)
    answers.keep([("k", {"text": "paid for"})])
    with closing(sqlite3.connect(run / "run.db")) as database:
        database.execute("pragma journal_mode = wal")
        database.execute("create table t (n)")
        database.execute("insert into t values (1)")
        database.commit()
        database.execute("insert into t values (2)")  # not committed
        back_up(data_dir, tmp_path / "a.tar.gz")
    answers.close()
    there = tmp_path / "there"
    restored(tmp_path / "a.tar.gz", there).close()
    copied = there / "runs" / RUNS[3]
    assert (copied / "artifacts" / "a" / "1-1" / "made.db").read_bytes() == artifact.read_bytes()
    assert not (copied / "run.db-wal").exists()
    with closing(sqlite3.connect(copied / "run.db")) as database:
        assert database.execute("select n from t").fetchall() == [(1,)]
    answers = AnswerCache(there / "cache", max_bytes=10**8)
    assert answers.find(["k"]) == {"k": {"text": "paid for"}}
    answers.close()


def during(monkeypatch: pytest.MonkeyPatch, name: str, what: Callable[[], None]) -> None:
    """Have `what` done once, just before the backup adds the file or directory `name`."""
    add, done = ArchiveWriter.add_tree, []

    def add_tree(self: ArchiveWriter, path: Path, member: str) -> None:
        if member == name and not done:
            done.append(what())
        add(self, path, member)

    monkeypatch.setattr(ArchiveWriter, "add_tree", add_tree)


def test_a_run_that_is_deleted_meanwhile_is_not_restored_without_its_files(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete() -> None:
        store = DiskStore(data_dir / "store")
        store.delete_run(RUNS[0])
        store.close()
        (data_dir / "runs" / RUNS[0] / "artifacts" / "a" / "1-1" / "out.txt").unlink()

    during(monkeypatch, f"runs/{RUNS[0]}", delete)
    back_up(data_dir, tmp_path / "a.tar.gz")
    copy = restored(tmp_path / "a.tar.gz", tmp_path / "there")
    assert [head["run"] for head in copy.runs().heads] == RUNS[:0:-1]
    copy.close()


def test_a_run_that_is_made_meanwhile_is_not_half_in_it(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit() -> None:
        store = DiskStore(data_dir / "store")
        store.create_run(new_run("01a218f49251499a5f97ff"))
        store.close()
        write(data_dir / "runs" / "01a218f49251499a5f97ff" / "artifacts" / "x", "x")

    during(monkeypatch, "store", submit)
    back_up(data_dir, tmp_path / "a.tar.gz")
    there = tmp_path / "there"
    copy = restored(tmp_path / "a.tar.gz", there)
    assert len(copy.runs().heads) == 4
    assert sorted(os.listdir(there / "runs")) == RUNS
    copy.close()


def test_a_runs_database_is_copied_when_its_log_stands_still(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = data_dir / "runs" / RUNS[3]
    with closing(sqlite3.connect(run / "run.db")) as database, database:
        database.execute("create table t (n)")
    copy_database, writes = backup.copy_database, []

    def copy(source: Path, target: Path) -> None:
        copy_database(source, target)
        if len(writes) < 2:
            store = DiskStore(data_dir / "store")
            store.request(RUNS[3], [event("x")])
            store.close()
            with closing(sqlite3.connect(source)) as database, database:
                database.execute("insert into t values (1)")
            writes.append(source)

    monkeypatch.setattr(backup, "copy_database", copy)
    monkeypatch.setattr(backup, "_PAUSE", 0.0)
    back_up(data_dir, tmp_path / "a.tar.gz")
    there = tmp_path / "there"
    store = restored(tmp_path / "a.tar.gz", there)
    assert store.head(RUNS[3])["n"] == 4
    assert len(list(store.records(RUNS[3]))) == 4
    with closing(sqlite3.connect(there / "runs" / RUNS[3] / "run.db")) as database:
        assert len(database.execute("select * from t").fetchall()) == 2
    store.close()


def test_a_backup_is_never_made_over_a_file_nor_into_what_it_copies(tmp_path: Path, data_dir: Path) -> None:
    (tmp_path / "there").write_text("mine")
    with pytest.raises(Conflict, match="not overwritten"):
        back_up(data_dir, tmp_path / "there")
    assert (tmp_path / "there").read_text() == "mine"
    with pytest.raises(InvalidInput, match="inside of what is copied"):
        back_up(data_dir, data_dir / "a.tar.gz")
    with pytest.raises(NotFound, match="there is no store"):
        back_up(tmp_path / "nowhere", tmp_path / "a.tar.gz")
    with pytest.raises(StoreUnusable, match="the backup cannot be made"):
        back_up(data_dir, tmp_path / "no" / "such" / "a.tar.gz")
    assert sorted(os.listdir(tmp_path)) == ["data", "there"]


def test_a_full_disk_leaves_nothing_of_a_backup(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: ArchiveWriter, name: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArchiveWriter, "add_bytes", full)
    with pytest.raises(StoreUnusable, match="No space left"):
        back_up(data_dir, tmp_path / "a.tar.gz")
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize("action", ["backup", "restore"])
def test_one_that_is_terminated_leaves_nothing(
    tmp_path: Path, data_dir: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    before, mask = signal.getsignal(signal.SIGTERM), os.umask(0o022)
    monkeypatch.setenv("PO_DATA_DIR", str(data_dir))
    monkeypatch.setattr(backup, "check_whole", lambda path: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(restore, "check_whole", lambda path: os.kill(os.getpid(), signal.SIGTERM))
    place = str(tmp_path / "b.tar.gz") if action == "backup" else str(archive)
    try:
        with pytest.raises(SystemExit):
            backup_program.main([action, place, "--to", str(tmp_path / "there")])
    finally:
        signal.signal(signal.SIGTERM, before)
        os.umask(mask)
    assert [path.name for path in tmp_path.rglob(".po-*")] == []
    assert not (tmp_path / "b.tar.gz").exists()
