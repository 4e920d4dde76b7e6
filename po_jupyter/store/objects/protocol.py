"""What a place for objects can do: bytes by key, each object whole or not there, none changed once it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple, Protocol

PIECE = 1 << 20  # bytes that are in memory at once of an object that is read or written
PART = 8 << 20  # bytes up to which an object is sent in one request


class ObjectInfo(NamedTuple):
    """An object: its key, its bytes, and when it was written, in seconds since 1970 by the clock of the place."""

    key: str
    bytes: int
    modified: float


class ObjectStore(Protocol):
    """A directory or a bucket. Keys are relative, with forward slashes. Its methods block and may be called from
    several threads.

    Raises Unavailable for whatever may be mended where the objects are (no answer, no rights, no bucket, a full disk);
    its message names the place and no secret.
    """

    place: str
    """The place for people, without credentials."""

    def put(self, key: str, file: BinaryIO, size: int) -> None:
        """Write the `size` bytes of a file from where it stands on; durable when this returns. What the key had is
        replaced."""

    def read(self, key: str) -> Iterator[bytes]:
        """The bytes of an object, in pieces. NotFound, also with the first piece."""

    def info(self, key: str) -> ObjectInfo | None:
        """The object; None when there is none."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects whose keys begin with the directory `prefix`, in any order."""

    def copy(self, source: str, target: str) -> None:
        """Copy an object within the place. NotFound."""

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are not there are passed over."""
