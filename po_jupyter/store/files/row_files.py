"""Files of rows, named by the SHA-256 of their bytes: JSON lines, written once, read row by row.

    DATA_DIR/blobs/<hash of the owner>/<sha256>.ndjson

A file is there whole or not at all. Nobody sees by its hash alone that somebody else has it: each owner has a
directory.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import tempfile
import time
from array import array
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from po_jupyter.errors import InvalidInput, InvalidSeed, NotFound, Violation
from po_jupyter.model.run.row_file_ref import RowFileRef, checked_hash, refs_in
from po_jupyter.model.run.row_index import levels_of
from po_jupyter.model.values.digests import short_digest
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.lazy_list import LazyList
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.store import diagnosis
from po_jupyter.store.files.tree import TEMPORARY
from po_jupyter.store.json_codec import Unreadable, checked_foreign, decode_foreign

LONGEST_ROW = 16 * 2**20  # bytes
_ABANDONED = 24 * 3600  # s after which nobody writes to a temporary file any more


class SharedRows(Protocol):
    """Files of rows where other nodes find them (`objects.shared_files`); `owner` is the hash of the owner. Raises
    Unavailable."""

    def keep_rows(self, owner: str, digest: str, path: Path) -> None:
        """Put a file there unless it is there."""

    def fetch_rows(self, owner: str, digest: str, path: Path) -> bool:
        """Bring a file to `path`; False when there is none."""


class RowFiles:
    """The files of one data directory, and of what its nodes share. Blocks on the disk: call it in a thread."""

    def __init__(self, data_dir: Path, shared: SharedRows | None = None) -> None:
        """Below `data_dir`; with `shared` a file that is not there is fetched, and a new one put there too."""
        self._root = data_dir / "blobs"
        self._shared = shared

    def path(self, owner: str, digest: str) -> Path:
        """Where a file of an owner is, or would be."""
        room = short_digest(owner, 16)
        return self._root / room / f"{checked_hash(digest)}.ndjson"

    def keep(self, path: Path) -> None:
        """Put one of the files where other nodes find it. Raises Unavailable."""
        if self._shared is not None:
            self._shared.keep_rows(path.parent.name, path.stem, path)

    def _fetch(self, path: Path) -> bool:
        return self._shared is not None and self._shared.fetch_rows(path.parent.name, path.stem, path)

    def info(self, owner: str, digest: str) -> JsonObject:
        """`{sha256, bytes, rows}` of a file. NotFound. It is about to be used, so it counts as new from now on."""
        path = self.path(owner, digest)
        if not path.exists():
            self._fetch(path)
        try:
            os.utime(path)
            size = path.stat().st_size
        except FileNotFoundError:
            raise NotFound(f"there is no file of rows {digest[:12]}...") from None
        self.keep(path)
        return {"sha256": digest, "bytes": size, "rows": len(FileRows(path))}

    def receive(self, owner: str, digest: str) -> RowFileUpload:
        """The upload that takes the bytes of a new file. Raises StoreUnusable."""
        return RowFileUpload(self.path(owner, digest), digest, self.keep)

    def sweep(self) -> None:
        """Remove what uploads of yesterday left when their server was killed."""
        for path in self._root.glob(f"*/{TEMPORARY}*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()

    def rows(self, owner: str, ref: RowFileRef) -> FileRows:
        """The rows of a file, opened when they are looked at."""
        path = self.path(owner, ref.sha256)
        return FileRows(path, ref.rows, None if self._shared is None else partial(self._fetch, path))

    def with_rows(self, owner: str, data: Mapping[str, Any]) -> JsonObject:
        """A seed's data in which references to files are the rows."""
        return {**data, **{key: self.rows(owner, ref) for key, ref in refs_in(data)}}

    def check(self, owner: str, data: Mapping[str, Any], index: Mapping[str, Any] | None = None) -> None:
        """Raises InvalidSeed for a reference in a seed's data or `index` to a file that is not there, or has another
        number of rows."""
        violations: list[Violation] = []
        refs = [(f"data.{key}", ref) for key, ref in refs_in(data)]
        for path, level in levels_of(index):
            refs += [(f"index.{path}", ref) for _, ref in refs_in({"values": level.get("values")})]
        for location, ref in refs:
            try:
                rows = self.info(owner, ref.sha256)["rows"]
            except NotFound:
                violations.append(
                    Violation(
                        location, f"`{location}`: the file of its rows, {ref.sha256[:12]}..., is not here"
                    )
                )
                continue
            if rows != ref.rows:
                violations.append(
                    Violation(location, f"`{location}`: its file has {rows} rows, and `count` says {ref.rows}")
                )
        if violations:
            raise InvalidSeed(
                "the seed cannot be used:", violations=violations, hint="PUT blobs/SHA256 comes first."
            )


class RowFileUpload:
    """A file of rows that is being received. `finish` keeps it, `abort` leaves nothing."""

    def __init__(
        self,
        path: Path,
        digest: str,
        on_kept: Callable[[Path], object] = lambda path: None,
        check: Callable[[Path], int] | None = None,
    ) -> None:
        """Opens a temporary file beside `path`; `on_kept` is called once the file is there. `check` counts what is in
        it, by default rows, and raises InvalidInput. Raises StoreUnusable."""
        self._check = check or _check_lines
        self._path = path
        self._digest = digest
        self._on_kept = on_kept
        self._hash = hashlib.sha256()
        try:
            diagnosis.make(path.parent)
            fd, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
        except OSError as error:
            raise diagnosis.unusable_os(error, path.parent) from error
        self._temporary: Path | None = Path(name)
        self._file = os.fdopen(fd, "wb")
        self.size = 0

    def write(self, data: bytes) -> None:
        """The next bytes. Raises StoreUnusable."""
        try:
            self._file.write(data)
        except OSError as error:
            raise diagnosis.unusable_os(error, self._path.parent) from error
        self._hash.update(data)
        self.size += len(data)

    def finish(self) -> JsonObject:
        """Check every line and keep the file: `{sha256, bytes, rows}`. Raises InvalidInput, StoreUnusable,
        Unavailable."""
        assert self._temporary is not None
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            digest = self._hash.hexdigest()
            if digest != self._digest:
                raise InvalidInput(
                    f"the file arrived with the SHA-256 {digest[:12]}..., not {self._digest[:12]}...",
                    hint="Send it again.",
                )
            rows = self._check(self._temporary)
            crashpoint("file.written")
            os.replace(self._temporary, self._path)
            self._temporary = None
            diagnosis.sync(self._path.parent)
            crashpoint("file.renamed")
        except OSError as error:
            raise diagnosis.unusable_os(error, self._path.parent) from error
        finally:
            self.abort()
        self._on_kept(self._path)
        return {"sha256": digest, "bytes": self.size, "rows": rows}

    def abort(self) -> None:
        """Remove the temporary file. Nothing happens after `finish`."""
        with suppress(OSError):
            self._file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None


def _check_lines(path: Path) -> int:
    count = 0
    with path.open("rb") as file:
        while line := file.readline(LONGEST_ROW + 2):
            count += 1
            try:
                if not line.endswith(b"\n"):
                    raise Unreadable("is cut off" if len(line) <= LONGEST_ROW else "is longer than 16 MiB")
                checked_foreign(line)
            except Unreadable as error:
                raise InvalidInput(
                    f"line {count} of the file of rows {error}",
                    hint="It is JSON lines: one row a line, each with its line end.",
                ) from None
    return count


class FileRows(LazyList):
    """The rows of a file as a lazy list. Safe for several threads.

    Raises NotFound when the file is gone.
    """

    def __init__(self, path: Path, count: int | None = None, fetch: Callable[[], object] | None = None) -> None:
        """Nothing is opened before the first look; `count` rows, or as many as it has lines. `fetch` is called where
        the file is not there, and may bring it."""
        self._path = path
        self._count = count
        self._fetch = fetch
        self._map: mmap.mmap | bytes | None = None
        self._ends = array("Q")
        self._lock = Lock()

    def open(self) -> None:
        """Map the file and find its lines; reading a row is quick after that."""
        with self._lock:
            if self._map is not None:
                return
            if self._fetch is not None and not self._path.exists():
                self._fetch()
            try:
                with self._path.open("rb") as file:
                    size = os.fstat(file.fileno()).st_size
                    content: mmap.mmap | bytes = (
                        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
                    )
            except FileNotFoundError:
                raise NotFound(
                    f"the file with the rows of this seed is gone: {self._path.name[:12]}...",
                    hint="Submit the pipeline with its rows again.",
                ) from None
            ends, at = self._ends, content.find(b"\n")
            while at >= 0:
                ends.append(at)
                at = content.find(b"\n", at + 1)
            self._map = content

    def __len__(self) -> int:
        """The number of rows."""
        if self._count is None:
            self.open()
            self._count = len(self._ends)
        return self._count

    def read(self, index: int) -> Any:
        """The row at `index`, decoded."""
        if self._map is None:
            self.open()
        assert self._map is not None
        start = self._ends[index - 1] + 1 if index else 0
        return decode_foreign(self._map[start : self._ends[index]])
