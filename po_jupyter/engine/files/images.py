"""Images of a model call: loaded from where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from po_jupyter.engine.files.named_files import read_file
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

    def read(self, name: str) -> bytes:
        """See `ArtifactReader`."""
        self._dependencies.record("artifacts")
        return self._files.read(name)

    def names(self) -> list[str]:
        """See `ArtifactReader`."""
        self._dependencies.record("artifacts")
        return self._files.names()


async def load_images(sources: Sequence[Any], files: ArtifactReader) -> tuple[Image, ...]:
    """The images, in their order. Raises InvalidInput that names the one that cannot be used."""
    return tuple([await _load(source, n, files) for n, source in enumerate(sources)])


async def _load(source: Any, n: int, files: ArtifactReader) -> Image:
    try:
        if isinstance(source, Image):
            return source
        return Image.of(await read_file(source, files, kind="an image", most=MAX_IMAGE_BYTES))
    except InvalidInput as error:
        raise InvalidInput(f"image {n}: {error.message}", hint=error.hint) from None
