"""The seam between a `KeyedStore` and its backends: a shard of keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from po_jupyter.errors import CorruptRow


class Shard(Protocol):
    """The keys and values of one shard. `write` and `erase` are legal only inside a transaction."""

    def read(self, key: str) -> Any | None:
        """The value, or None."""

    def read_many(self, keys: Sequence[str]) -> dict[str, Any | CorruptRow]:
        """The values that there are, by key; in the place of one that cannot be read the error."""

    def text(self, key: str) -> bytes | None:
        """The value's JSON, not decoded, or None."""

    def write(self, key: str, value: Any) -> None:
        """`value` (JSON, or a JsonText) under `key`."""

    def erase(self, key: str) -> bool:
        """False when there was none."""

    def measure(self, first: str, end: str) -> int:
        """Bytes of the values whose keys are `first` or above, and below `end`."""

    def reclaim(self) -> None:
        """Give the room of what was erased back to the file system."""
