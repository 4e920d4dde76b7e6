"""Images of a model call: loaded from where they are.

Code may name bytes, `data:` and `https:` URLs, artifacts of the run, and paths. A template may name all of
these but paths: what it is filled with is data, and data opens no file of the machine (P6).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from po_jupyter.engine.ports import ArtifactReader, Dependencies
from po_jupyter.errors import InvalidInput, NotFound
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


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image that a template names: an artifact or a URL, never a path."""

    text: str


async def load_images(sources: Sequence[Any], files: ArtifactReader) -> tuple[Image, ...]:
    """The images, in their order. Raises InvalidInput that names the one that cannot be used."""
    return tuple([await _load(source, n, files) for n, source in enumerate(sources)])


async def _load(source: Any, n: int, files: ArtifactReader) -> Image:
    try:
        if isinstance(source, Image):
            return source
        if isinstance(source, bytes | bytearray):
            return Image.of(bytes(source))
        if isinstance(source, Path):
            return Image.of(await asyncio.to_thread(_of_path, source))
        text = source.text if isinstance(source, NamedImage) else source
        if not isinstance(text, str) or not text.strip():
            raise InvalidInput(f"an image is bytes, a URL, an artifact's name or a path, not {text!r:.40}")
        if text.startswith("data:"):
            return Image.of(text)
        if text.startswith(("http://", "https://")):
            from po_jupyter.engine.files.fetch import fetch

            return Image.of(await fetch(text, limit=MAX_IMAGE_BYTES))
        return Image.of(await asyncio.to_thread(_of_name, text, files, not isinstance(source, NamedImage)))
    except InvalidInput as error:
        raise InvalidInput(f"image {n}: {error.message}", hint=error.hint) from None


def _of_name(name: str, files: ArtifactReader, paths: bool) -> bytes:
    try:
        return files.read(name)
    except (NotFound, InvalidInput):
        if paths and Path(name).is_file():
            return _of_path(Path(name))
        known = files.names()
    has = f"the run has {', '.join(known[:8])}" if known else "the run has none"
    also = "" if paths else "; a template names no paths"
    raise InvalidInput(f"there is no artifact {name!r:.120} ({has}){also}")


def _of_path(path: Path) -> bytes:
    try:
        if path.stat().st_size > 2 * MAX_IMAGE_BYTES:
            raise InvalidInput(
                f"{path} has {path.stat().st_size:,} bytes; an image has at most {MAX_IMAGE_BYTES:,}"
            )
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None
