"""Runs that are given back: their workers finish the calls in flight and let go, and nobody here takes them again."""

from __future__ import annotations

import asyncio

from po_jupyter.ipc.messages import DrainWorker
from po_jupyter.orchestrator.workers.processes import WorkerProcesses
from po_jupyter.orchestrator.workers.starts import WorkerStarts

_LOOK = 0.05  # s between two looks at a worker that is being started


class RunReleases:
    """The runs of one supervisor that were released, and are not looked after until they are taken back."""

    def __init__(self, processes: WorkerProcesses, starts: WorkerStarts) -> None:
        """None yet."""
        self._processes = processes
        self._starts = starts
        self._runs: set[str] = set()

    def __contains__(self, run: str) -> bool:
        """Whether the run is released."""
        return run in self._runs

    async def release(self, run: str) -> None:
        """Have the worker of the run finish what is in flight and give it back. Returns when it has none, and none is
        started any more."""
        self._runs.add(run)
        self._starts.discard(run)
        while True:
            worker = self._processes.get(run)
            if worker is not None:
                if worker.channel is not None and not worker.finished:
                    worker.channel.send(DrainWorker())
                await self._processes.wait_ended([worker], 1.0 if worker.channel is not None else _LOOK)
                if worker.ended.is_set():
                    await asyncio.sleep(0)  # what follows its end comes first
            elif run in self._starts.starting:
                await asyncio.sleep(_LOOK)
            else:
                return

    def take_back(self, run: str) -> None:
        """Look after the run again."""
        self._runs.discard(run)
