"""A store that ends with its process: for tests, and for `--no-store`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import RLock
from typing import Any, TypeVar

from po_jupyter.errors import CorruptRow
from po_jupyter.store.json_codec import Unreadable, decode, encode
from po_jupyter.store.keyed import run_log
from po_jupyter.store.keyed.shard import Shard
from po_jupyter.store.keyed.store import KeyedStore

T = TypeVar("T")


class MemoryStore(KeyedStore):
    """The same meaning as `DiskStore`, in a dict. Values are kept as JSON text, so what a disk would refuse is
    refused here too, and nobody shares an object with the store."""

    def __init__(self) -> None:
        """Empty."""
        super().__init__(shards=1)
        self._lock = RLock()
        self._rows: dict[str, bytes] = {}

    def _at(self, number: int, work: Callable[[Shard], T], *, write: bool = False) -> T:
        with self._lock:
            overlay = _Overlay(self._rows)
            result = work(overlay)
            if write:
                for key, text in overlay.changed.items():
                    if text is None:
                        self._rows.pop(key, None)
                    else:
                        self._rows[key] = text
            return result

    def close(self) -> None:
        """There is nothing to release; the data stays as long as the object does."""


class _Overlay:
    """Changes beside the rows until the work is done: an error leaves no trace."""

    keeps_lists = True

    def __init__(self, shard: dict[str, bytes]) -> None:
        self._rows = shard
        self.changed: dict[str, bytes | None] = {}

    def text(self, key: str) -> bytes | None:
        return self.changed[key] if key in self.changed else self._rows.get(key)

    def read(self, key: str) -> Any | None:
        text = self.text(key)
        return None if text is None else decode(text)

    def read_rows(self, keys: Sequence[str]) -> dict[str, Any | CorruptRow]:
        found: dict[str, Any | CorruptRow] = {}
        for key in keys:
            try:
                if (value := self.read(key)) is not None:
                    found[key] = value
            except Unreadable as error:
                found[key] = CorruptRow(f"the row {key} {error}")
        return found

    def texts(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self.text(key) for key in keys]

    def keys(self, prefix: str) -> list[str]:
        return [
            key
            for key in {**self._rows, **self.changed}
            if key.startswith(prefix) and self.text(key) is not None
        ]

    def write(self, key: str, value: Any) -> None:
        self.changed[key] = encode(value)

    def erase(self, key: str) -> bool:
        existed = self.text(key) is not None
        self.changed[key] = None
        return existed

    def read_many(self, keys: Sequence[str]) -> list[Any | None]:
        return [self.read(key) for key in keys]

    def erase_records(self, run: str, last: int | None) -> None:
        run_log.erase_each_record(self, run, last)

    def measure(self, run: str) -> int:
        parts = run_log.stored_at(run)
        return sum(len(text) for key, text in self._rows.items() for first, end in parts if first <= key < end)

    def reclaim(self) -> None:
        """A dict has nothing to give back."""
