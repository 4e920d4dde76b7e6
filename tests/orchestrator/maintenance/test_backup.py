"""C10: what is in an archive of `po backup`, and what `po restore` refuses. With runs at work: tests/crash."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import sqlite3
import stat
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import Conflict, InvalidInput, NotFound, PoError, StoreUnusable
from po_jupyter.orchestrator.maintenance import backup, backup_program, restore
from po_jupyter.orchestrator.maintenance.archive import MANIFEST, VERSION, ArchiveWriter
from po_jupyter.orchestrator.maintenance.backup import back_up
from po_jupyter.platform import processes
from po_jupyter.store.disk import migrations
from po_jupyter.store.disk.call_cache import AnswerCache
from po_jupyter.store.disk.snapshot import StoreSnapshot, check_whole
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import Commit
from po_jupyter.testing.conformance.store import event, new_run

RUNS = [f"01a218f49251499a5f970{n}" for n in (2, 3, 4, 5)]  # two in each of two shards


def make(data_dir: Path, shards: int = 2) -> DiskStore:
    """A data directory with four runs: two ended, one pending, one held by this process; and files of each kind."""
    store = DiskStore(data_dir / "store", shards=shards)
    for n, run in enumerate(RUNS):
        store.create_run(new_run(run, idempotency_key=f"key-{n}"))
        write(data_dir / "runs" / run / "artifacts" / "a" / "1-1" / "out.txt", f"of {run}")
    for run in RUNS[:2]:
        store.request(run, [event("run.done")], state="done")
    lease = store.claim(RUNS[3], processes.myself())
    store.commit(lease, Commit(events=[event("run.started")], state="running"))
    store.put("pipeline", "p", {"name": "p"})
    store.put("lease", "orchestrator", {**processes.myself(), "count": 1})
    write(data_dir / "keys.json", '{"openai": "sk-secret"}')
    write(data_dir / "blobs" / "me" / f"{'0' * 64}.ndjson", "1\n2\n")
    write(data_dir / "audit" / "audit.jsonl", "{}\n")
    write(data_dir / "runtime" / "headless.json", '{"token": "of a server"}')
    write(data_dir / "logs" / "orchestrator.log", "a line")
    return store


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(0o600)
    path.write_text(text)


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {m.name: tar.extractfile(m).read() if m.isfile() else b"" for m in tar}


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    store = make(tmp_path / "data")
    store.close()
    return tmp_path / "data"


@pytest.fixture
def archive(tmp_path: Path, data_dir: Path) -> Path:
    back_up(data_dir, tmp_path / "a.tar.gz")
    return tmp_path / "a.tar.gz"


def restored(archive: Path, there: Path) -> DiskStore:
    restore.restore(archive, there, allow_network=False)
    return DiskStore(there / "store")


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


def test_what_is_no_file_is_passed_over_and_named(tmp_path: Path, data_dir: Path) -> None:
    run = data_dir / "runs" / RUNS[0]
    (run / "link").symlink_to("/etc/passwd")
    os.mkfifo(run / "pipe")
    (run / "looks like one.db").write_bytes(b"SQLite format 3\0" + b"but is none" * 100)
    report = back_up(data_dir, tmp_path / "a.tar.gz")
    assert report["passed_over"] == [f"runs/{RUNS[0]}/link", f"runs/{RUNS[0]}/pipe"]
    there = tmp_path / "there"
    restored(tmp_path / "a.tar.gz", there).close()
    assert (there / "runs" / RUNS[0] / "looks like one.db").read_bytes().endswith(b"but is none")


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


def test_an_idempotency_key_of_a_run_that_came_between_documents_and_runs_is_in_it(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run without its key would be made twice."""
    from po_jupyter.store.disk import snapshot

    copy_database, copied = snapshot.copy_database, []

    def copy(source: Path, target: Path) -> None:
        copy_database(source, target)
        if not copied:
            store = DiskStore(data_dir / "store")
            store.create_run(new_run("01a218f49251499a5f97ff", idempotency_key="late"))
            store.close()
        copied.append(source.parent.name)

    monkeypatch.setattr(snapshot, "copy_database", copy)
    back_up(data_dir, tmp_path / "a.tar.gz")
    assert copied[:3] == ["documents", "runs-0", "runs-1"]
    store = restored(tmp_path / "a.tar.gz", tmp_path / "there")
    again, created = store.create_run(new_run("01a218f49251499a5f97fe", idempotency_key="late"))
    assert (again["run"], created) == ("01a218f49251499a5f97ff", False)
    store.close()


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


def test_a_run_that_ended_while_it_was_copied_again_is_active_no_more(tmp_path: Path, data_dir: Path) -> None:
    snapshot = StoreSnapshot(data_dir / "store", tmp_path / "copy")
    store = DiskStore(data_dir / "store")
    store.request(RUNS[3], [event("run.done")], state="done")
    store.request(RUNS[2], [event("run.done")], state="done")
    store.delete_run(RUNS[2])
    store.close()
    assert (snapshot.copy_again(RUNS[3]), snapshot.copy_again(RUNS[2])) == (3, 0)
    assert snapshot.store.active() == []
    snapshot.store.close()
    assert check_whole(tmp_path / "copy")["runs"] == 3


# -- refusals -------------------------------------------------------------------------------------------------
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


def test_nothing_is_restored_over_what_is_there(tmp_path: Path, archive: Path) -> None:
    there = tmp_path / "there"
    write(there / "mine", "mine")
    with pytest.raises(Conflict, match=r"is not empty \(mine\)"):
        restore.restore(archive, there, allow_network=False)
    assert os.listdir(there) == ["mine"]


def test_nothing_is_restored_over_a_store_at_work(data_dir: Path, archive: Path) -> None:
    with pytest.raises(Conflict, match=f"a server is at work on .* \\(process {os.getpid()}\\)"):
        restore.restore(archive, data_dir, allow_network=False)


def test_an_empty_directory_that_is_there_is_restored_into(tmp_path: Path, archive: Path) -> None:
    """A volume of a container is a directory that nobody can replace; it may have `lost+found`."""
    there = tmp_path / "there"
    (there / "lost+found").mkdir(parents=True)
    inode = there.stat().st_ino
    restored(archive, there).close()
    assert there.stat().st_ino == inode


def rewritten(archive: Path, change: Callable[[dict[str, bytes]], None], **extra: tarfile.TarInfo) -> None:
    """Make the archive anew with other members."""
    content = members(archive)
    change(content)
    manifest = content.pop(MANIFEST, None)
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if not data and "." not in name.rpartition("/")[2]:
                info.type = tarfile.DIRTYPE
            tar.addfile(info, io.BytesIO(data))
        for info in extra.values():
            tar.addfile(info)
        if manifest is not None:
            info = tarfile.TarInfo(MANIFEST)
            info.size = len(manifest)
            tar.addfile(info, io.BytesIO(manifest))


def newer(content: dict[str, bytes]) -> None:
    content[MANIFEST] = json.dumps({**json.loads(content[MANIFEST]), "version": VERSION + 1}).encode()


CHANGES: dict[str, tuple[Callable[[dict[str, bytes]], Any], str]] = {
    "no manifest": (lambda content: content.pop(MANIFEST), "its end is missing"),
    "a newer one": (newer, "newer po_jupyter"),
    "no JSON": (lambda content: content.update({MANIFEST: b"{"}), "not a whole archive"),
    "no number": (lambda content: content.update({MANIFEST: b"[]"}), "its manifest is none"),
    "half of one": (
        lambda content: content.update({MANIFEST: b'{"version": 1}'}),
        "its manifest lacks something",
    ),
    "a file less": (lambda content: content.pop("keys.json"), "says"),
    "outside": (lambda content: content.update({"../x": b"x"}), "outside of the directory"),
    "absolute": (lambda content: content.update({"/tmp/po-x": b"x"}), "outside of the directory"),
    "damage": (lambda content: content.update({"store/runs-0/cache.db": b"x" * 5000}), "not a database"),
    "no store": (lambda content: content.pop("store/documents/cache.db"), "no store"),
    "a shard less": (lambda content: content.pop("store/runs-1/cache.db"), "says"),
}


@pytest.mark.parametrize("which", CHANGES)
def test_an_archive_that_is_not_whole_restores_nothing(tmp_path: Path, archive: Path, which: str) -> None:
    change, match = CHANGES[which]
    rewritten(archive, change)
    there = tmp_path / "there"
    with pytest.raises(PoError, match=match):
        restore.restore(archive, there, allow_network=False)
    assert os.listdir(there) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_an_archive_with_anything_but_files_restores_nothing(
    tmp_path: Path, archive: Path, kind: bytes
) -> None:
    info = tarfile.TarInfo("runs/link")
    info.type, info.linkname = kind, "/etc/passwd"
    rewritten(archive, lambda content: None, link=info)
    with pytest.raises(InvalidInput, match="neither a file nor a directory"):
        restore.restore(archive, tmp_path / "there", allow_network=False)
    assert os.listdir(tmp_path / "there") == []


@pytest.mark.parametrize("keep", [0, 10, 2000, -1, -8])
def test_an_archive_that_was_cut_restores_nothing(tmp_path: Path, archive: Path, keep: int) -> None:
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(InvalidInput, match="not a whole archive"):
        restore.restore(archive, tmp_path / "there", allow_network=False)
    assert os.listdir(tmp_path / "there") == []


def test_an_archive_in_which_a_bit_fell_over_restores_nothing(tmp_path: Path, archive: Path) -> None:
    plain = bytearray(gzip.decompress(archive.read_bytes()))
    plain[plain.index(b"of 01a218")] ^= 1
    whole = gzip.compress(bytes(plain))
    archive.write_bytes(whole[:-8] + archive.read_bytes()[-8:])  # with the checksum that it had
    with pytest.raises(InvalidInput, match="not a whole archive"):
        restore.restore(archive, tmp_path / "there", allow_network=False)
    assert os.listdir(tmp_path / "there") == []


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
