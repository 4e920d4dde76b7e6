"""The file of a batch while it is gathered: lines, their number, size and digest."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from pathlib import Path

from po_jupyter.engine.budgets.guard import BatchHold
from po_jupyter.errors import StoreUnusable

_AT_ONCE = 1 << 20  # bytes


def cannot(path: Path, error: OSError) -> StoreUnusable:
    """The error for a file of a batch that cannot be written or read."""
    return StoreUnusable(
        f"the batch's file {path} cannot be used: {error.strerror}",
        hint="Free some space, or correct its permissions; the run goes on from there.",
    )


class Wave:
    """Rows on their way into one batch. `group` is what they have in common, None before the first."""

    def __init__(self, folder: Path, hold: BatchHold | None) -> None:
        self.token = f"po{secrets.token_hex(8)}"
        self.path = folder / f"{self.token}.jsonl"
        self.hold = hold
        self.group: str | None = None
        self.rows: list[int] = []
        self.bytes = 0
        self._digest = hashlib.sha256()
        self._held: list[bytes] = []
        self._size = 0

    @property
    def digest(self) -> str:
        """Of the whole file."""
        return self._digest.hexdigest()

    async def add(self, index: int, line: bytes) -> None:
        """One more row. Raises StoreUnusable."""
        piece = line if not self.rows else b"\n" + line
        self.rows.append(index)
        self.bytes += len(piece)
        self._digest.update(piece)
        self._held.append(piece)
        self._size += len(piece)
        if self._size > _AT_ONCE:
            await self.write()

    async def write(self) -> None:
        """Have all of it in the file. Raises StoreUnusable."""
        held, self._held, self._size = b"".join(self._held), [], 0

        def append() -> None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(held)

        try:
            await asyncio.to_thread(append)
        except OSError as error:
            raise cannot(self.path, error) from None
