"""What `po restore` refuses: it makes all of a data directory, or nothing."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import Conflict, InvalidInput, PoError
from po_jupyter.orchestrator.maintenance import restore
from po_jupyter.orchestrator.maintenance.archive import MANIFEST, VERSION
from tests.support.backups import restored, rewritten, write

pytestmark = pytest.mark.integration  # archives are made and read: it takes seconds


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
