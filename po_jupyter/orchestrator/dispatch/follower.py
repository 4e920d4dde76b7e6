"""What is found when an orchestrator takes the store, and what one that does not hold it sees of the others'
work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog

from po_jupyter.errors import NotFound, PoError, StoreError
from po_jupyter.ipc import channel as link
from po_jupyter.orchestrator.events.change_feed import Feed
from po_jupyter.orchestrator.workers.queue import RunQueue
from po_jupyter.orchestrator.workers.supervisor import Supervisor
from po_jupyter.store.protocol import Head, Store

log = structlog.get_logger("po_jupyter.recovery")

_LOOK = 0.25  # s between looks at the heads while somebody listens
_COUNT = 5.0  # s between counts of live runs
_ASK = 1.0  # s between questions to the holder: what it has to do


async def recover(store: Store, supervisor: Supervisor, run_off_loop: Callable[..., Awaitable[Any]]) -> int:
    """Attend to every run that has not ended: adopt those whose worker lives, queue the others. How many
    there were.

    A server's death is nobody's crash: nothing is counted here.
    """
    heads: list[Head] = await run_off_loop(store.active)
    for head in heads:
        await supervisor.attend(head["run"])
    if heads:
        log.info("recovered", runs=len(heads))
    return len(heads)


async def sweep(
    store: Store, supervisor: Supervisor, run_off_loop: Callable[..., Awaitable[Any]], every: float
) -> None:
    """Attend, every so many seconds, to active runs that nobody here knows: a hint that was lost (a poke that
    timed out, an error of the moment) loses no run (P1). Runs until cancelled."""
    waiting: dict[str, int] = {}  # as last attended: they need nothing until their log grows
    while True:
        await asyncio.sleep(every)
        try:
            heads: list[Head] = await run_off_loop(store.active)
        except StoreError as error:
            log.warning("cannot look at the store", error=error.message)
            continue
        waiting = {h["run"]: waiting.get(h["run"], 0) for h in heads if h["state"] == "waiting"}
        for head in heads:
            run = head["run"]
            if supervisor.knows(run) or waiting.get(run) == head["n"]:
                continue
            if run in waiting:
                waiting[run] = head["n"]
            else:
                log.warning("a run that nobody looked after", run=run, state=head["state"])
            await supervisor.attend(run)


class Following:
    """The eyes of a server that does not hold the store: looks at the heads while somebody listens, and asks the
    holder what it has to do.

    `load` is what `Supervisor.load` said there a moment ago; what the store says of it while nobody answers.
    """

    def __init__(
        self, store: Store, feed: Feed, run_off_loop: Callable[..., Awaitable[Any]], address: Path
    ) -> None:
        self.live = 0
        self.load: dict[str, Any] = {"running": None, "queued": None, "positions": {}, "held": {}}
        self._address = address
        self._store = store
        self._feed = feed
        self._do = run_off_loop
        self._seen: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look from now on."""
        self._task = asyncio.create_task(self._look(), name="following")

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def poke(self, run: str | None) -> bool:
        """Have the holder look at a run; whether somebody answered. What it says of its load is kept."""
        answer = await link.notify(self._address, run)
        load = answer.load if answer is not None else None
        if load is not None and load.keys() >= self.load.keys():
            held = self.load["held"]
            self.load = dict(load)
            for name in held.keys() ^ load["held"].keys():
                self._feed.held(name, load["held"].get(name))
                self._feed.changed(name)
        return answer is not None

    async def _ask(self) -> None:
        if await self.poke(None):
            return
        heads: list[Head] = await self._do(self._store.active)
        queue = RunQueue()
        for head in heads:
            if head["state"] == "pending" or (head["state"] == "running" and head["holder"] is None):
                queue.add(head)
        running = sum(h["state"] == "running" and h["holder"] is not None for h in heads)
        self.load = {"running": running, "queued": len(queue), "positions": queue.positions(1000), "held": {}}

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        counted, asked = -_COUNT, -_ASK
        while True:
            interests = self._feed.interests()
            try:
                if loop.time() - asked >= _ASK:
                    await self._ask()
                    asked = loop.time()
                if loop.time() - counted >= _COUNT:
                    heads: list[Head] = await self._do(self._store.active)
                    self.live = sum(h["state"] != "waiting" for h in heads)
                    counted = loop.time()
                if interests:
                    self._tell(await self._do(self._heads, interests))
            except PoError as error:
                log.warning("cannot look at the store", error=error.message)
            await asyncio.sleep(_LOOK)

    def _heads(self, interests: set[str | None]) -> dict[str, int]:
        found: dict[str, int] = {}
        for run in interests:
            if run is None:
                found.update((h["run"], h["n"]) for h in self._store.runs(limit=50).heads)
            else:
                try:
                    found[run] = self._store.head(run)["n"]
                except NotFound:
                    found[run] = -1
        return found

    def _tell(self, found: dict[str, int]) -> None:
        for run, n in found.items():
            if self._seen.get(run) != n:
                self._feed.changed(run)
        self._seen = found
