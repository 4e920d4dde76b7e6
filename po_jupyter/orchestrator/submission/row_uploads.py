"""Uploads of row files: bytes that come in piece by piece and are written in a thread, not on the loop (P9)."""

from __future__ import annotations

from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.store.files.row_files import RowFileUpload


class RowUpload:
    """Bytes on their way to the disk. One that is neither finished nor dropped leaves a temporary file."""

    def __init__(self, receiver: RowFileUpload, to_thread: ToThread) -> None:
        """`receiver` writes, in threads."""
        self._receiver = receiver
        self._to_thread = to_thread

    async def write(self, data: bytes) -> None:
        """The next bytes; the sender waits for the disk. Raises StoreUnusable."""
        await self._to_thread(self._receiver.write, data)

    async def finish(self) -> JsonObject:
        """Check and keep the file: `{sha256, bytes, rows}`. Raises InvalidInput, StoreUnusable."""
        return await self._to_thread(self._receiver.finish)

    def drop(self) -> None:
        """Forget what came; nothing happens after `finish`."""
        self._receiver.abort()
