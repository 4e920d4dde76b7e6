"""The processes of workers: watched while they live, and ended when they must.

What the end of one means for its run is the supervisor's matter (`workers.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from po_jupyter.config import Settings
from po_jupyter.ipc.channel import Channel
from po_jupyter.platform import processes

log = structlog.get_logger(__name__)

_LINGER = 3.0  # s that a worker may take to exit after its last word


@dataclass(slots=True)
class Worker:
    """One worker process, ours or adopted."""

    run: str
    identity: processes.Identity
    silence: float  # s without a word after which it is taken for hung
    ours: bool = True  # or adopted
    channel: Channel | None = None
    heard: float = field(default_factory=time.monotonic)
    bye: str | None = None
    cancelled: bool = False
    resting: bool = False  # it only waits for a batch at a provider, for up to a day
    killed: str | None = None  # why we ended it: cancel, silence, stop
    failure: tuple[str, str] = ("", "")  # what it said of the store before it gave up: (message, hint)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int:
        """Of the process, which leads its group."""
        return int(self.identity["pid"])


class WorkerEnds:
    """The workers by their runs. `_after` hears of each end, once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.workers: dict[str, Worker] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def _after(self, worker: Worker, status: int | None) -> None:
        raise NotImplementedError

    def _watch(self, worker: Worker) -> None:
        async def watch() -> None:
            await processes.gone(worker.identity)
            await asyncio.sleep(0.05)  # its last words may still be on the way
            self._exited(worker, None)

        self.go(watch(), f"watch {worker.run}")

    def end_later(self, worker: Worker, delay: float, why: str) -> None:
        """End the worker unless it has ended by itself `delay` seconds from now."""

        async def kill() -> None:
            try:
                async with asyncio.timeout(delay):
                    await worker.ended.wait()
            except TimeoutError:
                self._kill(worker, why)

        self.go(kill(), f"end {worker.run}")

    def _kill(self, worker: Worker, why: str) -> None:
        if not worker.ended.is_set():
            log.warning("ending a worker", run=worker.run, pid=worker.pid, why=why)
            worker.killed = worker.killed or why
            processes.end_group(worker.identity)

    def _exited(self, worker: Worker, status: int | None) -> None:
        if worker.ended.is_set():
            return
        if status is None and processes.alive(worker.identity):
            self._watch(worker)  # its zygote ended, not the worker
            return
        worker.ended.set()
        self.go(self._after(worker, status), f"after {worker.run}")

    async def _finished(self, worker: Worker) -> None:
        """Wait for a worker that said its last word to be gone."""
        try:
            async with asyncio.timeout(_LINGER + 1):
                await worker.ended.wait()
        except TimeoutError:
            self._kill(worker, "lingers")
        self.workers.pop(worker.run, None)

    async def watch_silence(self) -> None:
        """End workers that said nothing for longer than any of their stages may take. Runs until cancelled.

        Time passes here in short steps that count for at most twice their length: a suspended laptop adds
        nothing.
        """
        step = self._settings.heartbeat
        silent: dict[int, float] = {}
        while True:
            before = time.monotonic()
            await asyncio.sleep(step)
            passed = min(time.monotonic() - before, 2 * step)
            for worker in list(self.workers.values()):
                key = id(worker)
                if worker.heard >= before or worker.bye is not None:
                    silent.pop(key, None)
                    continue
                silent[key] = silent.get(key, 0.0) + passed
                if silent[key] > worker.silence:
                    self._kill(worker, "silence")

    async def _all_ended(self, workers: list[Worker], patience: float) -> None:
        try:
            async with asyncio.timeout(patience):
                for worker in workers:
                    await worker.ended.wait()
        except TimeoutError:
            pass

    def go(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do it beside; it ends with the supervisor."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._gone)

    def _gone(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("unexpected", task=task.get_name(), exc_info=error)
