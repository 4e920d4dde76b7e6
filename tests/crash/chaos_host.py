"""A server of the chaos: a headless Jupyter server with our extension, asked over HTTP by the product's client.

It is what `po start` starts (`python -m po_jupyter.server`), with a ready file of its own, so that two of them
may serve one store.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from po_jupyter.client.async_client import AsyncClient, Endpoint
from po_jupyter.config import Settings
from po_jupyter.errors import PoError
from po_jupyter.platform import processes
from tests.support.paths import ROOT
from tests.support.start_mode import inherited_environment

START = 60.0  # s that a server may take to say where it is, on a machine full of chaos
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_libc = ctypes.CDLL(None)
_numbers = itertools.count(1)


class HostGone(Exception):
    """The server ended before it answered: nobody knows whether it did what it was asked."""


class Host:
    """One server process, from the outside."""

    def __init__(self, process: subprocess.Popen[bytes], ready: Path) -> None:
        self.identity = processes.identity_of(process.pid)
        self.endpoint = Endpoint("http://127.0.0.1:9/")  # nobody's, until it said where it is
        self._process = process
        self._ready = ready
        self._client: AsyncClient | None = None

    @classmethod
    async def start(cls, settings: Settings, environ: dict[str, str], logs: Path) -> Host:
        """Start one and wait until it says where it is. Raises HostGone when it ends instead.

        Whether it can use the store is another question: on a full disk it answers and says so.
        """
        number = next(_numbers)
        ready = settings.data_dir / "runtime" / f"{number}.json"
        variables = {
            f"PO_{name.upper()}": str(value)
            for name, value in settings.model_dump(mode="json", exclude_unset=True).items()
        }
        inherited = inherited_environment("PO_", "JUPYTER", "JPY")
        with (logs / f"server-{number}.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: ASYNC220 - a few milliseconds, and this loop serves nobody
                [sys.executable, "-P", "-m", "po_jupyter.server", "--ready-file", str(ready)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=logs, start_new_session=True,
                env={**inherited, **environ, **variables, "PYTHONPATH": str(ROOT)},
                preexec_fn=lambda: _libc.prctl(_DEATH_SIGNAL, signal.SIGTERM),
            )  # fmt: skip
        host = cls(process, ready)
        try:
            await host._wait_ready()
        except BaseException:
            await host.kill()
            raise
        return host

    async def _wait_ready(self) -> None:
        until = time.monotonic() + START
        while self.alive and time.monotonic() < until:
            with suppress(OSError, ValueError):
                ready = json.loads(self._ready.read_text("utf-8"))
                if ready["pid"] == self.identity["pid"]:
                    self.endpoint = Endpoint(ready["url"], ready["token"])
                    self._client = AsyncClient(self.endpoint, timeout=10.0)
                    return
            await asyncio.sleep(0.05)
        raise HostGone

    @property
    def alive(self) -> bool:
        """Has it not ended yet? A stopped one has not."""
        return self._process.poll() is None

    async def ask(self, op: str, *, patience: float = 20.0, **fields: Any) -> Any:
        """Raises the PoError that it answers with, HostGone, TimeoutError."""
        if self._client is None or not self.alive:
            raise HostGone
        client, run = self._client, fields.get("run", "")
        async with asyncio.timeout(patience):
            match op:
                case "submit":
                    return {"run": (await client.submit(fields["body"])).id}
                case "gate":
                    return (await client.gate(run, fields["decision"], fields.get("note", ""))).state
                case "cancel":
                    return (await client.cancel(run)).state
                case "view":
                    return (await client.run(run, quiet=True)).model_dump(mode="json")
                case "outputs":
                    return await client.outputs(run)
                case "list":
                    return await self._all(client)
        raise ValueError(op)

    @staticmethod
    async def _all(client: AsyncClient) -> list[str]:
        runs: list[str] = []
        cursor: str | None = None
        while True:
            page, cursor = await client.runs(cursor=cursor, limit=200)
            runs += [view.id for view in page]
            if cursor is None:
                return runs

    async def kill(self) -> None:
        """kill -9, of the server alone."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._end()

    async def stop(self, patience: float = 30.0) -> None:
        """A graceful stop, as `po stop` asks for it. Raises TimeoutError."""
        self._process.terminate()
        async with asyncio.timeout(patience):
            await self._end()

    async def _end(self) -> None:
        while self.alive:
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Close the connections. Not before everybody who asks it has heard that it is gone."""
        if self._client is not None:
            with suppress(PoError):
                await self._client.aclose()
