"""Files of a model call, read from where they are.

Code may name bytes, `data:` and `https:` URLs, artifacts of the run, and paths. A template may name all of
these but paths: what it is filled with is data, and data opens no file of the machine (P6).
"""

from __future__ import annotations

import asyncio
import stat
from dataclasses import dataclass
from pathlib import Path

from po_jupyter.engine.ports import ArtifactReader
from po_jupyter.errors import InvalidInput, NotFound

MOST_BYTES_TOGETHER = 50 * 1024 * 1024
"""The most that the files of one prompt have together: what OpenAI takes in a request ("File inputs", 2026-11); the
others take less."""
_LONGEST_NAME = 4096
_NULL = "null"  # as templates print what is missing
_DATA_URL = 'In Python: "data:;base64," + base64.b64encode(path.read_bytes()).decode()'


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that a template names: an artifact or a URL, never a path."""

    text: str


class TotalBytes:
    """The bytes of the files of one prompt, added up while they are read."""

    def __init__(self, kind: str) -> None:
        """Nothing is read yet; `kind` is what messages call one of them."""
        self._kind = kind
        self._total = 0

    def add(self, size: int) -> None:
        """Add a file's bytes. Raises InvalidInput where they are too many."""
        self._total += size
        if self._total > MOST_BYTES_TOGETHER:
            raise InvalidInput(
                f"with {self._kind} the prompt has more than {MOST_BYTES_TOGETHER // 1024**2} MB of files",
                hint="Show fewer or smaller ones in one prompt.",
            )


async def read_file(source: object, files: ArtifactReader, *, kind: str, most: int) -> bytes | str:
    """The bytes of a file, or the `data:` URL that it is; `kind` is what messages call it, `most` its bytes. Raises
    InvalidInput."""
    if isinstance(source, bytes | bytearray):
        return bytes(source)
    if isinstance(source, Path):
        _check_length(str(source))
        return await asyncio.to_thread(_of_path, source, kind, most)
    text = source.text if isinstance(source, NamedFile) else source
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput(f"{kind} is bytes, a URL, an artifact's name or a path, not {text!r:.40}")
    if text.startswith("data:"):
        return text
    if text.startswith(("http://", "https://")):
        from po_jupyter.engine.files.fetch import fetch

        return await fetch(text, limit=most)
    _check_length(text)
    return await asyncio.to_thread(_of_name, text, files, not isinstance(source, NamedFile), kind, most)


def _check_length(name: str) -> None:
    if len(name) > _LONGEST_NAME:
        raise InvalidInput(
            f"a text of {len(name):,} characters is no name of a file",
            hint="Base64 is given as a data URL, `data:TYPE;base64,...`, or as the bytes that it is of.",
        )


def _of_name(name: str, files: ArtifactReader, paths: bool, kind: str, most: int) -> bytes:
    try:
        return files.read(name, 2 * most)
    except (NotFound, InvalidInput) as error:
        known = files.names()
        if name in known:
            raise InvalidInput(f"{error.message}; {kind} has at most {most:,}") from None
        if paths and _is_path(name):
            return _of_path(Path(name), kind, most)
    if name == _NULL and not paths:
        raise InvalidInput(
            f"{kind} is null: there is none",
            hint="Leave such rows out, or write {{ item.NAME or '' }} to show nothing.",
        )
    has = f"the run has {', '.join(known[:8])}" if known else "the run has none"
    also = "" if paths else "; a template names no paths: give what is in the file as a data: URL"
    raise InvalidInput(f"there is no artifact {name!r:.120} ({has}){also}", hint="" if paths else _DATA_URL)


def _is_path(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # too long for a name; a NUL
        return False


def _of_path(path: Path, kind: str, most: int) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for, a device never ends
            raise InvalidInput(f"{path} is {'a directory' if stat.S_ISDIR(found.st_mode) else 'no file'}")
        if found.st_size > 2 * most:
            raise InvalidInput(f"{path} has {found.st_size:,} bytes; {kind} has at most {most:,}")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # the latter for a NUL
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInput(f"{path!s:.200} cannot be read: {reason}") from None
