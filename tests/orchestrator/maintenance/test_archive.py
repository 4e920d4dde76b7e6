"""The archive of a backup: what is in it byte by byte, and what is left out."""

from __future__ import annotations

import gc
import os
import sqlite3
import stat
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from po_jupyter.orchestrator.maintenance.archive import ArchiveWriter, is_database
from po_jupyter.orchestrator.maintenance.backup import back_up
from tests.support.backups import RUNS, members, restored, write

pytestmark = pytest.mark.integration  # archives are made and read: it takes seconds


def archived(path: Path, tree: Path, copies: dict[Path, Path] | None = None) -> ArchiveWriter:
    with ArchiveWriter(path, copies or {}) as archive:
        archive.add_tree(tree, "files")
    return archive


def database(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as made, made:
        made.execute("create table t (n)")
    return path


def test_files_are_in_it_for_their_user_alone_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "tree" / "deep" / "a.txt", "text")
    (tmp_path / "tree" / "deep" / "a.txt").chmod(0o755)
    (tmp_path / "tree" / "empty").mkdir()
    archive = archived(tmp_path / "a.tar.gz", tmp_path / "tree")
    assert members(tmp_path / "a.tar.gz") == {
        "files": b"", "files/deep": b"", "files/deep/a.txt": b"text", "files/empty": b"",
    }  # fmt: skip
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        assert [m.mode for m in tar if m.isfile()] == [0o700], "executable stays so, for its user"
    assert archive.files == {"files": 1, "bytes": 4}
    assert stat.S_IMODE((tmp_path / "a.tar.gz").stat().st_mode) == 0o600


def test_half_written_files_and_what_is_not_there_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "tree" / ".po-half", "half")
    archived(tmp_path / "a.tar.gz", tmp_path / "tree")
    archived(tmp_path / "b.tar.gz", tmp_path / "nowhere")
    assert (list(members(tmp_path / "a.tar.gz")), members(tmp_path / "b.tar.gz")) == (["files"], {})


def test_a_database_is_in_it_as_its_copy_and_one_without_is_left_out(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    here, late, copy = database(tree / "a.db"), database(tree / "late.db"), tmp_path / "copy"
    copy.write_bytes(b"the copy")
    for path in (here, late):
        write(path.with_name(path.name + "-wal"), "pages")
    assert archived(tmp_path / "a.tar.gz", tree, {here: copy}).files["files"] == 1
    assert members(tmp_path / "a.tar.gz") == {"files": b"", "files/a.db": b"the copy"}


def test_a_file_of_that_name_beside_no_database_is_a_file(tmp_path: Path) -> None:
    write(tmp_path / "tree" / "notes-wal", "of a sea")
    archived(tmp_path / "a.tar.gz", tmp_path / "tree")
    assert members(tmp_path / "a.tar.gz")["files/notes-wal"] == b"of a sea"


def test_no_link_is_followed_to_a_database(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(database(tmp_path / "a.db"))
    os.mkfifo(tmp_path / "pipe")
    assert is_database(tmp_path / "a.db")
    assert not any(is_database(tmp_path / name) for name in ("link", "pipe", "nowhere"))


@pytest.mark.parametrize("full", [False, True])
def test_an_archive_that_failed_writes_nothing_later(tmp_path: Path, full: bool) -> None:
    """On Python 3.13 its compressor wrote to the closed file when it was collected."""
    write(tmp_path / "a.txt", "x")
    with pytest.raises(OSError, match="No space left"), ArchiveWriter(tmp_path / "a.tar.gz", {}) as archive:
        archive.add_tree(tmp_path / "a.txt", "a.txt")
        if full:
            with open("/dev/full", "wb") as no_room:
                os.dup2(no_room.fileno(), archive._raw.fileno())
        raise OSError(28, "No space left on device")
    del archive
    gc.collect()


def test_an_archive_is_never_written_over_a_file(tmp_path: Path) -> None:
    write(tmp_path / "a.tar.gz", "mine")
    with pytest.raises(FileExistsError), ArchiveWriter(tmp_path / "a.tar.gz", {}):
        pass
    assert (tmp_path / "a.tar.gz").read_text() == "mine"


def test_what_is_no_file_is_passed_over_and_named(tmp_path: Path, data_dir: Path) -> None:
    run = data_dir / "runs" / RUNS[0]
    (run / "link").symlink_to("/etc/passwd")
    os.mkfifo(run / "pipe")
    os.mknod(run / "socket", stat.S_IFSOCK | 0o600)  # an orchestrator's: nothing is missing without it
    (run / "looks like one.db").write_bytes(b"SQLite format 3\0" + b"but is none" * 100)
    report = back_up(data_dir, tmp_path / "a.tar.gz")
    assert report["passed_over"] == [f"runs/{RUNS[0]}/link", f"runs/{RUNS[0]}/pipe"]
    there = tmp_path / "there"
    restored(tmp_path / "a.tar.gz", there).close()
    assert (there / "runs" / RUNS[0] / "looks like one.db").read_bytes().endswith(b"but is none")
