"""A directory that somebody else can write to, too; and one that is not mounted."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from po_jupyter.errors import StoreUnusable, Unavailable
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.objects.opening import open_objects
from po_jupyter.store.objects.shared_files import RunFile, SharedFiles

RUN = "00a1"


def written(run_dir: Path, name: str, data: bytes) -> RunFile:
    """A file of a run in its directory."""
    path = run_dir / "artifacts" / "t" / "1-1" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return RunFile.of(f"artifacts/t/1-1/{name}", 1, sha256(data).hexdigest())


def in_directory(tmp_path: Path) -> tuple[SharedFiles, Path, RunFile]:
    """A directory with one object."""
    (tmp_path / "shared").mkdir()
    files = SharedFiles(MemoryStore(), open_objects(str(tmp_path / "shared")))
    file = written(tmp_path / "1", "a", b"a")
    files.keep(RUN, tmp_path / "1", [file])
    return files, tmp_path / "shared" / files.open(), file


@pytest.mark.parametrize("which", ["object", "fence", "run", "runs"])
def test_a_link_that_was_put_into_the_directory_leads_nowhere(tmp_path: Path, which: str) -> None:
    files, room, file = in_directory(tmp_path)
    outside = tmp_path / "outside"
    place = {
        "object": room / "runs" / RUN / file.name, "fence": room / "runs" / RUN / "1", "run": room / "runs" / RUN,
        "runs": room / "runs",
    }[which]  # fmt: skip
    place.rename(outside)
    place.symlink_to(outside)
    with pytest.raises(Unavailable, match="link"):
        files.fetch(RUN, tmp_path / "2", [file])
    for look in (lambda: list(files.run_objects(RUN)), lambda: files.remove_run(RUN)):
        if which in ("run", "runs"):
            with pytest.raises(Unavailable, match="link"):
                look()
        else:
            assert not look()
    assert outside.exists()
    if which != "object":
        with pytest.raises(Unavailable, match="link"):
            files.keep(RUN, tmp_path / "1", [file])
    files.close()


def test_what_somebody_else_puts_there_is_none_of_ours(tmp_path: Path) -> None:
    files, room, file = in_directory(tmp_path)
    for name in (
        "notes.txt",
        "runs/README",
        "runs/../x",
        f"runs/{RUN}/1/thumbs.db",
        "rows/x",
        "runs/zz/1/" + "a" * 64,
    ):
        path = room / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"theirs")
    assert [found.sha256 for found in files.run_objects()] == [file.sha256]
    assert list(files.rows()) == []
    assert files.remove_run(RUN) == 1
    assert (room / "runs" / RUN / "1" / "thumbs.db").exists()
    files.close()


def test_a_file_system_that_was_unmounted_is_waited_for_and_not_filled(tmp_path: Path) -> None:
    files, room, file = in_directory(tmp_path)
    shared = room.parent
    shared.rename(tmp_path / "elsewhere")
    shared.mkdir()  # the mount point
    for work in (
        lambda: files.keep(RUN, tmp_path / "1", [file]), lambda: files.fetch(RUN, tmp_path / "2", [file]),
        lambda: list(files.run_objects()), lambda: files.remove_run(RUN),
    ):  # fmt: skip
        with pytest.raises(Unavailable, match=r"is .* mounted"):
            work()
    assert list(shared.iterdir()) == []
    shared.rmdir()
    (tmp_path / "elsewhere").rename(shared)
    assert files.fetch(RUN, tmp_path / "2", [file]) == {}
    files.close()


def test_a_place_without_the_stores_room_is_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    (tmp_path / "shared").mkdir()
    files = SharedFiles(store, open_objects(str(tmp_path / "shared")))
    files.open()
    files.close()
    (tmp_path / "other").mkdir()
    moved = SharedFiles(store, open_objects(str(tmp_path / "other")))
    with pytest.raises((StoreUnusable, Unavailable)):
        moved.open()
    moved.close()
