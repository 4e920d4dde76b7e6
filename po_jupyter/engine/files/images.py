"""Images of a model call: loaded from where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from po_jupyter.engine.files.named_files import TotalBytes, read_file
from po_jupyter.engine.ports import ArtifactReader, Dependencies
from po_jupyter.errors import InvalidInput
from po_jupyter.llm.messages import MAX_IMAGE_BYTES, Image


class RecordedArtifacts:
    """An `ArtifactReader` that records each use as a dependency of the row.

    Later runs may reuse the row's outcome while those files are the same.
    """

    def __init__(self, files: ArtifactReader, dependencies: Dependencies) -> None:
        """`files`, whose use is recorded in `dependencies`."""
        self._files = files
        self._dependencies = dependencies

    def read(self, name: str, most: int | None = None) -> bytes:
        """See `ArtifactReader`."""
        self._dependencies.record("artifacts")
        return self._files.read(name, most)

    def names(self) -> list[str]:
        """See `ArtifactReader`."""
        self._dependencies.record("artifacts")
        return self._files.names()


async def load_images(sources: Sequence[Any], files: ArtifactReader) -> tuple[Image, ...]:
    """The images, in their order. Raises InvalidInput that names the one that cannot be used."""
    total = TotalBytes("this image")
    return tuple([await _load(source, n, files, total) for n, source in enumerate(sources)])


async def _load(source: Any, n: int, files: ArtifactReader, total: TotalBytes) -> Image:
    try:
        if isinstance(source, Image):
            image: Image = source
        else:
            image = Image.of(await read_file(source, files, kind="an image", most=MAX_IMAGE_BYTES))
        total.add(len(image.data) * 3 // 4)
        return image
    except InvalidInput as error:
        raise InvalidInput(f"image {n}: {error.message}", hint=error.hint) from None
