"""The loop of a worker: decide, execute, again, until the run leaves it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from po_jupyter.engine.base.interrupts import Drained, Stopped
from po_jupyter.engine.run.task_attempt import end_event, execute
from po_jupyter.engine.state.decide import End, Start, Stop, decide
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.view import ENDED

if TYPE_CHECKING:
    from po_jupyter.engine.run.session import Work

# A task that swallows its cancellation is asked again; then it is left behind, and the process ends with it.
_ASK_AGAIN = 1.0
_ASKS = 5


async def drive(work: Work) -> str:
    """Work a run off. How it left: `done`, `failed`, `cancelled`, `waiting` (a gate), or `released` (drained).

    Raises StaleFence when somebody else has the run now, and any other StoreError; then nothing more is
    written, and the run goes on from its log elsewhere.
    """
    return await _Driver(work).run()


class _Driver:
    def __init__(self, work: Work) -> None:
        self.work = work
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.stopping: set[str] = set()

    async def run(self) -> str:
        work = self.work
        if work.state.state in ENDED:
            return work.state.state
        work.starting()
        try:
            while True:
                left = await self._step()
                if left is not None:
                    return left
        finally:
            work.closed = True
            await self._abandon()

    async def _step(self) -> str | None:
        work = self.work
        if work.broken is not None:
            raise work.broken
        if work.state.state in ENDED and not self.tasks:
            return work.state.state
        if work.draining and not self.tasks:
            await work.commit(release=True)
            return "released"
        commands = decide(work.pipeline, work.state, work.held.union(self.tasks))
        for command in commands:
            if isinstance(command, Start):
                if not work.draining:
                    self._start(command)
            elif isinstance(command, Stop):
                self._stop(command.task)
            else:
                return await self._end(command)
        await self._wait()
        return None

    def _start(self, start: Start) -> None:
        self.work.running.add(start.task)
        self.work.rest(start.task, False)
        self.tasks[start.task] = asyncio.get_running_loop().create_task(
            execute(self.work, start), name=f"po {start.task}"
        )

    def _stop(self, name: str) -> None:
        if name in self.tasks and name not in self.stopping:
            self.stopping.add(name)
            self.tasks[name].cancel()

    async def _end(self, end: End) -> str | None:
        work = self.work
        if end.state == "cancelled" and work.state.open_batches:
            from po_jupyter.engine.maps.batches.cancel import wind_up

            try:
                await wind_up(work)
            except Drained:
                return None
        if end.state != "waiting":
            await work.flush_cache()
            await work.commit(end_event(end), state=end.state, release=True)
            return end.state
        # A decision that was written just before `waiting` was woken nobody: look once more before letting go.
        await work.commit(end_event(end), state="waiting")
        await work.look()
        if work.state.state == "waiting" and isinstance(_next(work), End):
            await work.commit(release=True)
            return "waiting"
        work.starting()
        return None

    async def _wait(self) -> None:
        work = self.work
        if not self.tasks:
            return
        waking = asyncio.ensure_future(work.wake.wait())
        asks = 0
        try:
            while True:
                done, _ = await asyncio.wait(
                    {*self.tasks.values(), waking},
                    return_when=asyncio.FIRST_COMPLETED,
                    timeout=_ASK_AGAIN if self.stopping else None,
                )
                if done:
                    break
                asks += 1
                self._ask_again(asks)
                if not self.tasks:
                    break
        finally:
            waking.cancel()
        work.wake.clear()
        for name in [n for n, t in self.tasks.items() if t.done()]:
            self._finished(name)

    def _ask_again(self, asks: int) -> None:
        for name in list(self.stopping):
            if asks < _ASKS:
                self.tasks[name].cancel()
            else:
                left = self.tasks.pop(name)
                left.add_done_callback(_ignored)
                self._gone(name, cancelled=True)

    def _finished(self, name: str) -> None:
        task = self.tasks.pop(name)
        try:
            task.result()
        except (asyncio.CancelledError, Stopped):
            self._gone(name, cancelled=True)
        except Drained:
            self._gone(name, cancelled=False)
        else:
            self._gone(name, cancelled=False)

    def _gone(self, name: str, *, cancelled: bool) -> None:
        self.work.running.discard(name)
        self.stopping.discard(name)
        task = self.work.state.tasks[name]
        if cancelled and task.state == "running" and not task.batches:  # else it ends once they are collected
            self.work.emit(draft("task.cancelled", name))

    async def _abandon(self) -> None:
        """Something broke (a stale fence, a full disk): stop what runs, without another word in the log."""
        for task in self.tasks.values():
            task.cancel()
            task.add_done_callback(_ignored)
        if self.tasks:
            await asyncio.wait(self.tasks.values(), timeout=_ASK_AGAIN)


def _ignored(task: asyncio.Task[None]) -> None:
    """Nobody asks any more how this task ended."""
    if not task.cancelled():
        task.exception()


def _next(work: Work) -> object:
    """What would be next if the run were not waiting."""
    commands = decide(work.pipeline, work.state)
    return commands[0] if commands else None
