"""A file of rows that comes in piece by piece, without holding the loop (P9)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from po_jupyter.store.files.row_files import RowFileUpload


class Upload:
    """Bytes on their way to the disk. One that is neither kept nor dropped leaves a temporary file."""

    def __init__(self, receiver: RowFileUpload, off_loop: Callable[..., Awaitable[Any]]) -> None:
        self._receiver = receiver
        self._off_loop = off_loop

    async def write(self, data: bytes) -> None:
        """The next bytes; the sender waits for the disk. Raises StoreUnusable."""
        await self._off_loop(self._receiver.write, data)

    async def keep(self) -> dict[str, Any]:
        """Check and keep the file: `{sha256, bytes, rows}`. Raises InvalidInput, StoreUnusable."""
        answer: dict[str, Any] = await self._off_loop(self._receiver.finish)
        return answer

    def drop(self) -> None:
        """Forget what came."""
        self._receiver.abort()
