"""Documents of a call: where each may come from, by content and not by name."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from po_jupyter.engine.files import documents
from po_jupyter.engine.files.documents import load_documents
from po_jupyter.engine.files.named_files import NamedFile
from po_jupyter.errors import InvalidInput, NotFound
from po_jupyter.llm.documents import Document

PDF = b"%PDF-1.4\n%%EOF\n"
DOCUMENT = Document(b64encode(PDF).decode(), 2)


class Artifacts:
    """One artifact, `a.pdf`."""

    def read(self, name: str, most: int | None = None) -> bytes:
        if name != "a.pdf":
            raise NotFound(name)
        return PDF

    def names(self) -> list[str]:
        return ["a.pdf"]


@pytest.fixture(autouse=True)
def two_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "measure", lambda data: (2, 0))


async def test_bytes_urls_artifacts_and_paths(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(PDF)
    url = "data:;base64," + b64encode(PDF).decode()
    sources = [PDF, url, "a.pdf", str(tmp_path / "b.txt"), tmp_path / "b.txt", DOCUMENT, NamedFile("a.pdf")]
    assert await load_documents(sources, Artifacts()) == (DOCUMENT,) * len(sources)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"\x89PNG\r\n\x1a\n", "no PDF"),
        (b"", "no PDF"),
        ("data:application/pdf,plain", "data URL"),
        ("data:;base64,%%%", "not base64"),
        (b"%PDF-" + b"0" * 15 * 1024**2, "14 MB"),
        ("data:;base64," + "A" * 20 * 1024**2, "14 MB"),
        ("nowhere.pdf", "the run has a.pdf"),
        (7, "not 7"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named_by_its_number(source: object, message: str) -> None:
    with pytest.raises(InvalidInput, match="file 1") as caught:
        await load_documents([PDF, source], Artifacts())
    assert message in caught.value.message


async def test_a_template_opens_no_file_of_the_machine(tmp_path: Path) -> None:
    """P6."""
    (tmp_path / "b.pdf").write_bytes(PDF)
    with pytest.raises(
        InvalidInput, match="a template names no paths: give what is in the file as a data: URL"
    ):
        await load_documents([NamedFile(str(tmp_path / "b.pdf"))], Artifacts())


async def test_a_missing_value_is_no_name_of_a_file() -> None:
    """Of a row without a file it said that there is no artifact 'null'."""
    with pytest.raises(InvalidInput, match="file 0: a file is null: there is none"):
        await load_documents([NamedFile("null")], Artifacts())
