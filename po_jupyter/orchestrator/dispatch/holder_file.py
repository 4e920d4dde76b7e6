"""The file beside the store that says who holds it: `runtime/holder.json` (mode 0600), for clients of the same person.

`{kind, url, socket, token, pid, created, boot, host}`: the server that has the workers, as its process is identified.
It is written when the lease is taken and removed when it is lost or given back; one of a dead process means nothing.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import structlog

from po_jupyter.errors import StoreError
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.dispatch.protocol import HolderService
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.platform import processes
from po_jupyter.platform.private_file import PRIVATE_DIRECTORY
from po_jupyter.store.files.tree import write_atomic

log = structlog.get_logger(__name__)


class HolderFile:
    """The services of a holder, with the file that leads clients to it as long as they run."""

    def __init__(
        self, data_dir: Path, address: JsonObject, services: HolderService, to_thread: ToThread
    ) -> None:
        """`address` is `{kind, url, socket, token}` of the server; `services` are what it goes around."""
        self._path = data_dir / "runtime" / "holder.json"
        self._content: JsonObject = {**address, **processes.myself()}
        self._services = services
        self._to_thread = to_thread

    async def start(self) -> None:
        """Start the services, then say where they are."""
        await self._services.start()
        try:
            await self._to_thread(self._write)
        except (OSError, StoreError) as error:  # clients look elsewhere, and start one of their own
            log.error("who holds the store is not written down", error=str(error))

    async def close(self) -> None:
        """Take the file away, unless another server has written its own meanwhile; end the services."""
        await self._to_thread(self._remove)
        await self._services.close()

    def _write(self) -> None:
        self._path.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        write_atomic(self._path, json.dumps(self._content).encode())

    def _remove(self) -> None:
        with suppress(OSError, ValueError):
            if json.loads(self._path.read_bytes()) == self._content:
                self._path.unlink()
