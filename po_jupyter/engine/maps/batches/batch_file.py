"""The file of a batch while rows are gathered: its lines, their number, size and digest."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from pathlib import Path

from po_jupyter.errors import StoreUnusable
from po_jupyter.platform.private_file import PRIVATE_DIRECTORY

_BUFFER = 1 << 20  # bytes


def unusable_file(path: Path, error: OSError) -> StoreUnusable:
    """The error for a file of a batch that cannot be written or read."""
    return StoreUnusable(
        f"the batch's file {path} cannot be used: {error.strerror}",
        hint="Free some space, or correct its permissions; the run goes on from there.",
    )


class BatchFile:
    """The requests that become one batch. `group` is the provider's group of them, None before the first."""

    def __init__(self, folder: Path) -> None:
        """An empty file with a new token; on the disk only once it has lines."""
        self.token = f"po{secrets.token_hex(8)}"
        self.path = folder / f"{self.token}.jsonl"
        self.group: str | None = None
        self.rows: list[int] = []
        self.bytes = 0
        self._digest = hashlib.sha256()
        self._buffer: list[bytes] = []
        self._buffered = 0

    @property
    def digest(self) -> str:
        """The SHA-256 of the whole file."""
        return self._digest.hexdigest()

    async def add(self, index: int, line: bytes) -> None:
        """Add the request of a row. Raises StoreUnusable."""
        piece = line if not self.rows else b"\n" + line
        self.rows.append(index)
        self.bytes += len(piece)
        self._digest.update(piece)
        self._buffer.append(piece)
        self._buffered += len(piece)
        if self._buffered > _BUFFER:
            await self.write()

    async def write(self) -> None:
        """Write the lines that are not in the file yet. Raises StoreUnusable."""
        data, self._buffer, self._buffered = b"".join(self._buffer), [], 0

        def append() -> None:
            self.path.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(data)

        try:
            await asyncio.to_thread(append)
        except OSError as error:
            raise unusable_file(self.path, error) from None
