"""Files are whole or not there, and a name is never a path (R2.3, P6)."""

from __future__ import annotations

import os
import resource
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput, NotFound, StoreUnusable
from po_jupyter.store.files import tree as files
from po_jupyter.store.files.tree import TEMPORARY, Tree, sweep, write_atomic


def leftovers(directory: Path) -> list[str]:
    return [p.name for p in directory.rglob("*") if p.name.startswith(TEMPORARY)]


def test_a_file_is_replaced_as_a_whole_and_private(tmp_path: Path) -> None:
    """R2.3."""
    path = tmp_path / "new" / "a.json"
    write_atomic(path, b"one")
    write_atomic(path, memoryview(b"two"))
    assert path.read_bytes() == b"two"
    assert leftovers(tmp_path) == []
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(not files.AT, reason="platform: no directory descriptors")
def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R2.3: a power cut, which a killed process cannot show, finds the old file or the new one."""
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(fd: int) -> None:
        done.append("sync directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "sync file")
        fsync(fd)

    def replaced(*args: Any, **named: Any) -> None:
        done.append("rename")
        replace(*args, **named)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    write_atomic(tmp_path / "a", b"x")
    assert done == ["sync file", "rename", "sync directory"]
    done.clear()
    (tmp_path / "to").mkdir()
    Tree(tmp_path).move("a", "to/b")
    assert done == ["rename", "sync directory", "sync directory"]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/etc/x", "a//b", "a/", "../a", "a/../../b", "./a", "a\0b", "..\\a", "a" * 256, "é" * 128],
)
def test_a_name_never_leads_out(tmp_path: Path, name: str) -> None:
    """P6: names of files are data."""
    tree = Tree(tmp_path / "root")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "ok").write_bytes(b"x")
    for work in (
        lambda: tree.write(name, b"x"),
        lambda: tree.read(name),
        lambda: tree.move("ok", name),
        lambda: tree.move(name, "b"),
        lambda: tree.remove(name),
        lambda: tree.identity(name),
    ):
        with pytest.raises(InvalidInput):
            work()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["ok", "root"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    """P6: not in the middle of a name and not at its end."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "dir").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "ok").write_bytes(b"mine")
    tree = Tree(root)
    for work in (
        lambda: tree.read("file"),
        lambda: tree.read("dir/secret"),
        lambda: tree.write("dir/new", b"x"),
        lambda: tree.move("ok", "dir/ok"),
        lambda: tree.move("dir/secret", "mine"),
        lambda: tree.remove("dir/secret"),
        lambda: tree.identity("file"),
    ):
        with pytest.raises(InvalidInput, match="link"):
            work()
    assert [p.name for p in outside.iterdir()] == ["secret"]
    tree.write("file", b"new")  # replaces the link itself
    assert (outside / "secret").read_bytes() == b"secret"
    assert (root / "file").read_bytes() == b"new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="platform: no pipes in the file system")
def test_a_pipe_is_refused_not_waited_for(tmp_path: Path) -> None:
    """P11."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="not a regular file"):
        Tree(tmp_path).read("pipe")
    with pytest.raises(InvalidInput):
        Tree(tmp_path).identity("pipe")


def test_reading_is_bounded_and_says_what_is_missing(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.write("a/b", b"12345")
    assert tree.read("a/b", limit=5) == b"12345"
    with pytest.raises(InvalidInput, match="larger than 4 bytes"):
        tree.read("a/b", limit=4)
    with pytest.raises(NotFound, match="a/c"):
        tree.read("a/c")
    assert tree.names("a") == ["b"]
    assert tree.names("nowhere") == []
    assert tree.remove("a/b") is True
    assert tree.remove("a/b") is False


def test_what_interrupted_writes_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY}1").write_bytes(b"half")
    (tmp_path / "a").write_bytes(b"x")
    assert sweep(tmp_path) == 1
    assert sweep(tmp_path / "nowhere") == 0
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


# -- when the disk says no -----------------------------------------------------------------------------
@pytest.mark.skipif(sys.platform == "win32", reason="platform: no limits of processes")
def test_a_file_over_the_limit_changes_nothing(tmp_path: Path) -> None:
    """R2.3, P11: the old content stays, the error says what and what next, nothing is left behind."""
    path = tmp_path / "a"
    write_atomic(path, b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(StoreUnusable, match="cannot be written") as caught:
            write_atomic(path, b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert caught.value.details["errno"] == "EFBIG"
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []
    write_atomic(path, b"new")


@pytest.mark.skipif(sys.platform == "win32" or not hasattr(os, "fork"), reason="platform: modes are POSIX")
@pytest.mark.integration
def test_missing_rights_change_nothing(tmp_path: Path) -> None:
    """R2.3, P11. In a process without root's rights, which would ignore modes."""
    locked = tmp_path / "locked"
    locked.mkdir()
    (locked / "a").write_bytes(b"old")
    locked.chmod(0o555)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            os.chdir(locked)  # before the rights are gone: the directories above are closed to others
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            try:
                files.write_atomic(Path("a"), b"new")
            except StoreUnusable as error:
                said = f"{error.message}|{error.hint}"
        except BaseException as error:
            said = repr(error)
        finally:
            os.write(write_end, said.encode())
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    locked.chmod(0o755)
    assert "cannot be written: Permission denied" in said
    assert "rights" in said
    assert (locked / "a").read_bytes() == b"old"
    assert leftovers(tmp_path) == []
