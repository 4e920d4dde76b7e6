"""The file of a batch: what is on the disk is what was added, in order."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from po_jupyter.engine.maps.batches.batch_file import BatchFile
from po_jupyter.errors import StoreUnusable


async def test_lines_are_in_the_file_once_it_is_written(tmp_path: Path) -> None:
    file = BatchFile(tmp_path / "below")
    await file.add(3, b"one")
    await file.add(9, b"two")
    assert not file.path.exists()
    await file.write()
    data = file.path.read_bytes()
    assert data == b"one\ntwo"
    assert (file.rows, file.bytes, file.digest) == ([3, 9], len(data), hashlib.sha256(data).hexdigest())
    assert file.path.parent.stat().st_mode & 0o777 == 0o700, "prompts are private"


async def test_a_large_file_is_written_in_steps(tmp_path: Path) -> None:
    file = BatchFile(tmp_path)
    for index in range(3):
        await file.add(index, b"x" * 600_000)
    assert file.path.stat().st_size > 1_000_000
    await file.write()
    assert file.path.stat().st_size == file.bytes


async def test_a_file_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    file = BatchFile(tmp_path / "taken")
    await file.add(0, b"x")
    with pytest.raises(StoreUnusable, match="cannot be used"):
        await file.write()
