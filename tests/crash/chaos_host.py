"""A server of the chaos: an orchestrator in a process of its own, asked over its standard input and output."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from po_jupyter.config import Settings
from po_jupyter.errors import PoError, from_json
from po_jupyter.orchestrator import processes
from po_jupyter.orchestrator.service import Orchestrator

ROOT = Path(__file__).parents[2]


class HostGone(Exception):
    """The server ended before it answered: nobody knows whether it did what it was asked."""


class Host:
    """One server process, from the outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.identity = processes.identity_of(process.pid)
        self._process = process
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, settings: Settings, environ: dict[str, str]) -> Host:
        """Start one and wait until it is ready. Raises HostGone when it ends instead."""
        config = settings.model_dump(mode="json", exclude={"auth_token"})
        process = await asyncio.create_subprocess_exec(
            sys.executable, __file__, json.dumps(config),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
            env={**os.environ, **environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
        )  # fmt: skip
        host = cls(process)
        try:
            await host.ask("ready", patience=60)
        except BaseException:
            await host.kill()
            raise
        return host

    @property
    def alive(self) -> bool:
        """Has it not ended yet? A stopped one has not."""
        return self._process.returncode is None

    async def ask(self, op: str, *, patience: float = 20.0, **fields: Any) -> Any:
        """Raises the PoError that it answers with, HostGone, TimeoutError."""
        number = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            assert self._process.stdin is not None
            if self._reader.done():
                raise HostGone
            self._process.stdin.write(json.dumps({"id": number, "op": op, **fields}).encode() + b"\n")
            async with asyncio.timeout(patience):
                said = await answer
        except OSError:
            raise HostGone from None
        finally:
            self._waiting.pop(number, None)
        if said.get("error"):
            raise from_json(said["error"])
        return said.get("value")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            waiting = self._waiting.get(said["id"])
            if waiting is not None and not waiting.done():
                waiting.set_result(said)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(HostGone())

    async def kill(self) -> None:
        """kill -9, of the server alone."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._end()

    async def stop(self, patience: float = 30.0) -> None:
        """A graceful stop. Raises TimeoutError."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(patience):
            await self._end()

    async def _end(self) -> None:
        await self._process.wait()
        await self._reader


async def _serve(config: dict[str, Any]) -> None:
    service = Orchestrator(Settings.model_validate(config))
    await service.start()
    asked: set[asyncio.Task[None]] = set()
    while line := await asyncio.to_thread(sys.stdin.readline):
        task = asyncio.create_task(_answer(service, json.loads(line)))
        asked.add(task)
        task.add_done_callback(asked.discard)
    await service.stop()


async def _answer(service: Orchestrator, asked: dict[str, Any]) -> None:
    said: dict[str, Any] = {"id": asked["id"]}
    run = asked.get("run", "")
    try:
        match asked["op"]:
            case "ready":
                said["value"] = service.ready()
            case "submit":
                view, new = await service.submit(asked["body"], owner="local")
                said["value"] = {"run": view.id, "new": new}
            case "gate":
                said["value"] = (await service.gate(run, None, asked["decision"])).state
            case "cancel":
                said["value"] = (await service.cancel(run, None)).state
            case "view":
                said["value"] = (await service.get(run, None)).model_dump(mode="json")
            case "outputs":
                said["value"] = await service.outputs(run, None)
    except PoError as error:
        said["error"] = error.to_json()
    with suppress(OSError):
        os.write(1, json.dumps(said).encode() + b"\n")


if __name__ == "__main__":
    from po_jupyter.telemetry.logging import configure

    logging.raiseExceptions = False  # a full disk takes log lines too
    given = json.loads(sys.argv[1])
    configure(Settings.model_validate(given), file=Path(given["data_dir"]) / "logs" / "orchestrator.log")
    try:
        asyncio.run(_serve(given))
    except PoError as error:  # no room to start in: whoever started us tries again
        sys.exit(error.message)
