"""Objects as files of a directory that several machines mount. No link is followed below it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from po_jupyter.errors import InvalidInput, NotFound, StoreUnusable, Unavailable
from po_jupyter.store.files.tree import TEMPORARY, Tree
from po_jupyter.store.objects.protocol import PIECE, ObjectInfo


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of a file from where it stands on, in pieces."""
    while piece := file.read(PIECE):
        yield piece


class DirectoryObjects:
    """Objects below `root`, which has to be there: a mount point whose file system is missing is not filled."""

    def __init__(self, root: Path) -> None:
        """Raises StoreUnusable when there is no such directory."""
        self.place = str(root)
        self._root = root
        self._tree = Tree(root)
        if not root.is_dir():
            raise StoreUnusable(
                f"there is no directory {root} for the files that nodes share",
                hint="Make it, or mount it, before the server starts (PO_BLOBS names it).",
            )

    def put(self, key: str, file: BinaryIO, size: int) -> None:
        """See `ObjectStore`."""
        with self._errors(key):
            self._tree.receive(key, pieces_of(file))

    def read(self, key: str) -> Iterator[bytes]:
        """See `ObjectStore`."""
        with self._errors(key), self._tree.open(key) as file:
            yield from pieces_of(file)

    def info(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore`."""
        with self._errors(key):
            try:
                with self._tree.open(key) as file:
                    found = os.fstat(file.fileno())
            except NotFound:
                return None
        return ObjectInfo(key, found.st_size, found.st_mtime)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `ObjectStore`."""
        top = self._root
        for step in prefix.split("/"):
            top /= step
            if top.is_symlink():
                raise self._unavailable(f"{top} is a link; links are not followed")
        self._check_mounted(prefix)

        def fail(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise self._unavailable(f"{error.filename} cannot be read: {error.strerror}")

        for directory, below, names in os.walk(top, onerror=fail):
            below.sort()
            for name in sorted(names):
                path = os.path.join(directory, name)
                with contextlib.suppress(FileNotFoundError):
                    found = os.lstat(path)
                    if not os.path.islink(path) and not name.startswith(TEMPORARY):
                        key = os.path.relpath(path, self._root).replace(os.sep, "/")
                        yield ObjectInfo(key, found.st_size, found.st_mtime)

    def copy(self, source: str, target: str) -> None:
        """See `ObjectStore`."""
        with self._errors(source), self._tree.open(source) as file:
            self._tree.receive(target, pieces_of(file))

    def remove(self, keys: Sequence[str]) -> None:
        """See `ObjectStore`. Directories that are empty then go too."""
        for key in keys:
            with self._errors(key):
                self._tree.remove(key)
        for directory in sorted({key.rpartition("/")[0] for key in keys}, key=len, reverse=True):
            with contextlib.suppress(OSError):  # not empty, or gone
                while directory.count("/") > 1:
                    os.rmdir(self._root / directory)
                    directory = directory.rpartition("/")[0]

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        if not key.endswith("/" + MARKER):
            self._check_mounted(key)
        try:
            yield
        except (StoreUnusable, InvalidInput) as error:
            raise self._unavailable(error.message) from None

    def _check_mounted(self, key: str) -> None:
        """Every key begins with the directory of its store, which is made with the marker."""
        room = self._root / key.partition("/")[0]
        if not room.is_dir():
            raise self._unavailable(f"{room} is not there: is {self._root} mounted?")

    def _unavailable(self, message: str) -> Unavailable:
        return Unavailable(
            f"the files that nodes share cannot be used: {message}",
            hint="What needs them goes on once the directory can be read and written again.",
            details={"refused": "directory"},
        )


MARKER = "po-objects.json"
"""The name of the first object of each store in a place: whoever opens the place finds its store by it."""
