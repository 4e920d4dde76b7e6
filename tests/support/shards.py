"""A run and its child runs in one process: whoever creates a child has it worked off beside the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

from po_jupyter.config import Settings
from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.engine.run.parent_run import output_from_log
from po_jupyter.engine.run.session import RunSession, open_session
from po_jupyter.llm.calls.answer_queue import AnswerStore
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.model.run.view import ENDED
from po_jupyter.store.protocol import Store
from tests.support.engine import RUN, Bench


class Family(Bench):
    """A `Bench` whose run has children. `answers` is the cache of calls; `alone`: nobody works off child runs, and
    the run itself drains once it has `drains_at` of them."""

    def __init__(self, tmp: Path, store: Store | None = None) -> None:
        super().__init__(tmp, store)
        self.answers: AnswerStore | None = None
        self.alone = False
        self.drains_at = 0
        self.patience = 30.0
        self.at_work: dict[str, asyncio.Task[str]] = {}
        self.sessions: dict[str, RunSession] = {}

    @contextlib.asynccontextmanager
    async def worker_of(self, run: str) -> AsyncIterator[RunSession]:
        lease = self.store.claim(run, {"pid": 1})
        session = await open_session(
            self.store,
            lease,
            settings=Settings(data_dir=self.tmp, **self.settings),
            providers=Providers({}, opened={"fake": self.fake}),
            base_url=lambda ref: self.base_url,
            on_child=self.look_at,
            answers=self.answers,
        )
        try:
            yield session
        finally:
            with contextlib.suppress(Exception):
                await session.aclose()

    def look_at(self, run: str) -> None:
        """What the orchestrator does when a child run changed."""
        if self.alone:
            if len(self.children()) == self.drains_at:
                self.session.signals.drain()
            return
        task = self.at_work.get(run)
        if task is None or task.done():
            if self.store.head(run)["state"] not in ENDED:
                self.at_work[run] = asyncio.get_running_loop().create_task(self.work_off(run))
        elif run in self.sessions:
            self.sessions[run].signals.cancel_hint()

    async def work_off(self, run: str) -> str:
        async with self.worker_of(run) as session:
            self.sessions[run] = session
            return await RunExecutor(session).run()

    async def go(self) -> str:
        async with self.worker_of(self.run) as session:
            self.session = session
            async with asyncio.timeout(self.patience):
                return await RunExecutor(session).run()

    def rows(self, task: str) -> Any:
        """The output of a map as the log of the run has it."""
        history = read_history(self.store, self.run)
        return list(cast("Any", output_from_log(self.store, history.state, task, history.table)))

    def children(self) -> list[str]:
        heads = self.store.runs(limit=1000, children=True).heads
        return [head["run"] for head in reversed(heads) if head.get("parent") == RUN]
