"""Images of a call: where each may come from, and that a template opens no path (P6)."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.files.images import RecordedArtifacts, load_images
from po_jupyter.engine.files.named_files import NamedFile
from po_jupyter.errors import InvalidInput, NotFound
from po_jupyter.llm.messages import Image

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 16


class Artifacts:
    """One artifact, `a.png`."""

    def read(self, name: str, most: int | None = None) -> bytes:
        if name != "a.png":
            raise NotFound(name)
        return PNG

    def names(self) -> list[str]:
        return ["a.png"]


class Record:
    def __init__(self) -> None:
        self.names: list[str] = []

    def record(self, name: str) -> None:
        self.names.append(name)


async def test_bytes_urls_artifacts_and_paths(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(PNG)
    url = "data:image/png;base64," + b64encode(PNG).decode()
    sources = [
        PNG,
        url,
        "a.png",
        str(tmp_path / "b.png"),
        tmp_path / "b.png",
        Image.of(PNG),
        NamedFile("a.png"),
    ]
    assert await load_images(sources, Artifacts()) == (Image.of(PNG),) * len(sources)


@pytest.mark.parametrize(
    ("source", "message"),
    [(5, "not 5"), ("", "not ''"), ("b.png", "the run has a.png"), (Path("nowhere.png"), "cannot be read")],
)
async def test_a_source_that_cannot_be_used_is_named_by_its_number(source: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match="image 1") as caught:
        await load_images([PNG, source], Artifacts())
    assert message in caught.value.message


async def test_a_template_names_no_path(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(PNG)
    with pytest.raises(InvalidInput, match="a template names no paths"):
        await load_images([NamedFile(str(tmp_path / "b.png"))], Artifacts())


async def test_a_use_of_artifacts_is_recorded_as_a_dependency() -> None:
    record = Record()
    await load_images(["a.png"], RecordedArtifacts(Artifacts(), record))
    assert record.names == ["artifacts"]
