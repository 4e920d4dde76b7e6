"""The seam between a `KeyedStore` and its backends: a shard of keys and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from po_jupyter.errors import CorruptRow


class Shard(Protocol):
    """The keys and values of one shard. What changes them is legal only inside a transaction.

    `keeps_lists`: runs are found by lists that are values too (`run_index`), not by the backend itself.
    """

    keeps_lists: bool

    def read(self, key: str) -> Any | None:
        """The value, or None."""

    def read_rows(self, keys: Sequence[str]) -> dict[str, Any | CorruptRow]:
        """The values that there are, by key; in the place of one that cannot be read the error."""

    def text(self, key: str) -> bytes | None:
        """The value's JSON, not decoded, or None."""

    def texts(self, keys: Sequence[str]) -> list[bytes | None]:
        """The JSON of the values of some keys, not decoded; the keys are of records of one run, of one kind."""

    def keys(self, prefix: str) -> list[str]:
        """The keys that begin so, of rows that are no run's. Slow: it may walk over them."""

    def write(self, key: str, value: Any) -> None:
        """`value` (JSON, or a JsonText) under `key`."""

    def erase(self, key: str) -> bool:
        """False when there was none."""

    def read_many(self, keys: Sequence[str]) -> list[Any | None]:
        """The values of some keys, None where there is none."""

    def erase_records(self, run: str, last: int | None) -> None:
        """Erase the records of a run with their payloads, up to number `last`; None: as many as there are."""

    def measure(self, run: str) -> int:
        """Bytes of all values of a run, as they are stored."""

    def reclaim(self) -> None:
        """Give the room of what was erased back to the file system."""
