"""The file that a run travels in: parts one after the other, each a line of JSON about it and its bytes. Blocks.

{"part": "run", ...head and definition}    once, first
{"part": "row", "kind": "c", "n": 1, "bytes": 400}\n...    the rows of the run, in order
{"part": "file", "name": "artifacts/x.png", "bytes": 9}\n...    its files
{"part": "rows", "name": SHA256, "bytes": 9}\n...    files of rows that its seed names
{"part": "end"}
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from po_jupyter.errors import InvalidInput
from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform import private_file
from po_jupyter.store import diagnosis
from po_jupyter.store.json_codec import LARGEST, Unreadable, checked_foreign
from po_jupyter.store.keyed.run_import import RunRow

FORMAT = 1
_LONGEST = LARGEST  # bytes of a line: the definition is in one
_PIECE = 2**20
FOLDERS = ("artifacts", "given", "logs")  # of the directory of a run: what is in files of it and is kept


class ArchivePart(NamedTuple):
    """A part: what it is, what its line says, and its bytes, which are read before the next part is asked for."""

    part: str
    about: JsonObject
    pieces: Iterator[bytes]

    def data(self) -> bytes:
        """The bytes at once. Raises InvalidInput."""
        if self.about.get("bytes", 0) > LARGEST:
            raise InvalidInput(f"a row of the run has {self.about['bytes']} bytes; at most {LARGEST} are taken")
        return b"".join(self.pieces)


def write_archive(
    path: Path,
    run: Mapping[str, object],
    rows: Iterable[RunRow],
    files: Mapping[str, Path],
    seeds: Iterable[Path],
) -> str:
    """Write the file; its SHA-256. `files` are those of the run by their names, `seeds` of rows. StoreUnusable."""
    digest = hashlib.sha256()
    try:
        path.parent.mkdir(mode=private_file.PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        with os.fdopen(private_file.open_private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:

            def write(data: bytes) -> None:
                digest.update(data)
                file.write(data)

            write(_line(part="run", format=FORMAT, **run))
            for row in rows:
                write(_line(part="row", kind=row.kind, n=row.n, bytes=len(row.text)))
                write(row.text)
            for name, source in files.items():
                _copy(write, source, part="file", name=name)
            for source in seeds:
                _copy(write, source, part="rows", name=source.stem)
            write(_line(part="end"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise diagnosis.unusable_os(error, path.parent) from error
    return digest.hexdigest()


def _line(**about: object) -> bytes:
    return json.dumps(about, separators=(",", ":")).encode() + b"\n"


def _copy(write: Callable[[bytes], None], source: Path, *, part: str, name: str) -> None:
    with source.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        write(_line(part=part, name=name, bytes=size))
        while size:
            piece = file.read(min(size, _PIECE))
            if not piece:
                raise OSError(f"{source} became shorter while it was read")
            write(piece)
            size -= len(piece)


def files_of(run_dir: Path) -> dict[str, Path]:
    """The files of a run that go with it, by their names in its directory; links are left out."""
    found: dict[str, Path] = {}
    for top in FOLDERS:
        for folder, _, names in os.walk(run_dir / top):
            for name in sorted(names):
                path = Path(folder, name)
                if not name.startswith(".po-") and path.is_file() and not path.is_symlink():
                    found[path.relative_to(run_dir).as_posix()] = path
    return found


def read_archive(file: BinaryIO) -> Iterator[ArchivePart]:
    """The parts. What of a part was not read is passed over. Raises InvalidInput for what no `write_archive` wrote."""
    while True:
        line = file.readline(_LONGEST + 1)
        about = _about(line)
        size = about.get("bytes", 0)
        if type(size) is not int or not 0 <= size < 2**53:
            raise _unreadable()
        until = file.tell() + size
        yield ArchivePart(str(about.get("part")), about, _pieces(file, size))
        if about.get("part") == "end":
            return
        file.seek(until)


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        piece = file.read(min(size, _PIECE))
        if not piece:
            raise _unreadable()
        yield piece
        size -= len(piece)


def _about(line: bytes) -> JsonObject:
    try:
        about = checked_foreign(line) if line.endswith(b"\n") else None
    except Unreadable:
        about = None
    if not isinstance(about, dict):
        raise _unreadable()
    return about


def _unreadable() -> InvalidInput:
    return InvalidInput("the file of the run is cut off, or is none", hint="Move the run again.")
