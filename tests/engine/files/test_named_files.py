"""Files of a call by name: what a source may be, and how large."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.engine.files import named_files
from po_jupyter.engine.files.artifacts import AttemptFiles
from po_jupyter.engine.files.documents import load_documents
from po_jupyter.engine.files.images import load_images
from po_jupyter.engine.files.named_files import NamedFile, read_file
from po_jupyter.errors import InvalidInput, NotFound


class NoArtifacts:
    """A run without any."""

    def read(self, name: str, most: int | None = None) -> bytes:
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


async def test_an_artifact_that_is_too_large_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = AttemptFiles(tmp_path, "t/1-1")
    files.write("big.pdf", b"0" * 50)
    with pytest.raises(InvalidInput, match=r"'t/1-1/big.pdf' is larger than 18 bytes; a file has at most 9"):
        await read_file(NamedFile("big.pdf"), files, kind="a file", most=9)
    assert await read_file("big.pdf", files, kind="a file", most=50) == b"0" * 50


async def test_the_files_of_one_prompt_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_files, "MOST_BYTES_TOGETHER", 20)
    monkeypatch.setattr("po_jupyter.engine.files.documents.measure", lambda data: (1, 0))
    file, picture = b"%PDF-1.4 ..", b"\x89PNG\r\n\x1a\n...."
    assert len(await load_documents([file], NoArtifacts())) == 1
    with pytest.raises(InvalidInput, match="file 1: with this file the prompt has more than 0 MB of files"):
        await load_documents([file, file], NoArtifacts())
    with pytest.raises(InvalidInput, match="image 1: with this image"):
        await load_images([picture, picture], NoArtifacts())


@pytest.mark.parametrize("source", ["QUJD" * 2000, Path("QUJD" * 2000), NamedFile("QUJD" * 2000)])
async def test_base64_without_its_url_is_refused_with_what_to_write(source: object) -> None:
    with pytest.raises(InvalidInput, match="a text of 8,000 characters is no name of a file") as refused:
        await read_file(source, NoArtifacts(), kind="a file", most=9)
    assert "data:TYPE;base64" in refused.value.hint


async def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    for source, says in (
        (Path("/dev/zero"), "is no file"), (tmp_path, "is a directory"), (Path("a\0b"), "cannot be read"),
        ("a\0b", "no artifact"), ("b" * 300, "no artifact"),
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match=says):
            await read_file(source, NoArtifacts(), kind="a file", most=9)
