"""A shard that nobody has written to: reading does not make its file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from po_jupyter.errors import CorruptRow


class EmptyShard:
    """A shard that nobody has written to."""

    keeps_lists = True

    def read(self, key: str) -> None:
        """See `Shard`."""
        return

    def read_rows(self, keys: Sequence[str]) -> dict[str, Any | CorruptRow]:
        """See `Shard`."""
        return {}

    def text(self, key: str) -> None:
        """See `Shard`."""
        return

    def texts(self, keys: Sequence[str]) -> list[bytes | None]:
        """See `Shard`."""
        return [None] * len(keys)

    def keys(self, prefix: str) -> list[str]:
        """See `Shard`."""
        return []

    def write(self, key: str, value: Any) -> None:
        """See `Shard`."""
        raise AssertionError("a write opens its shard")

    def erase(self, key: str) -> bool:
        """See `Shard`."""
        raise AssertionError("a write opens its shard")

    def read_many(self, keys: Sequence[str]) -> list[None]:
        """See `Shard`."""
        return [None] * len(keys)

    def erase_records(self, run: str, last: int | None) -> None:
        """See `Shard`."""
        raise AssertionError("a write opens its shard")

    def measure(self, run: str) -> int:
        """See `Shard`."""
        return 0

    def reclaim(self) -> None:
        """There is nothing."""
