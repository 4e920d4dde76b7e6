"""A file that comes in piece by piece, as the server hands it on; see `api`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class UploadApi(Protocol):
    """A file that is being received."""

    async def write(self, data: bytes) -> None:
        """The next bytes; the sender waits for the disk. StoreUnusable."""

    async def finish(self) -> Mapping[str, object]:
        """Check and keep the file: `{sha256, bytes, rows}`. InvalidInput, StoreUnusable."""
        ...

    def drop(self) -> None:
        """Forget what came; nothing happens after `finish`."""
