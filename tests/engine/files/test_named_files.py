"""Files of a call by name: what a source may be, and how large."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.engine.files.named_files import NamedFile, read_file
from po_jupyter.errors import InvalidInput, NotFound


class NoArtifacts:
    """A run without any."""

    def read(self, name: str) -> bytes:
        raise NotFound(name)

    def names(self) -> list[str]:
        return []


async def test_a_data_url_is_left_to_whoever_knows_its_kind() -> None:
    assert (
        await read_file(NamedFile("data:;base64,AA=="), NoArtifacts(), kind="a file", most=9)
        == "data:;base64,AA=="
    )
    assert await read_file(bytearray(b"x"), NoArtifacts(), kind="a file", most=9) == b"x"


async def test_a_path_is_code_and_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(b"0" * 20)
    with pytest.raises(InvalidInput, match="20 bytes; a file has at most 9"):
        await read_file(path, NoArtifacts(), kind="a file", most=9)
    assert await read_file(str(path), NoArtifacts(), kind="a file", most=10) == b"0" * 20
    with pytest.raises(InvalidInput, match=r"the run has none.*names no paths"):
        await read_file(NamedFile(str(path)), NoArtifacts(), kind="a file", most=10)
