"""The executor of a run: decide, start and stop tasks, again, until the run leaves this worker."""

from __future__ import annotations

import asyncio

from po_jupyter.engine.base.interrupts import Drained, Stopped
from po_jupyter.engine.replay.lost_calls import report_lost_calls
from po_jupyter.engine.run.directives import RunDirectives
from po_jupyter.engine.run.session import RunSession
from po_jupyter.engine.run.task_attempt import TaskAttempt, end_event
from po_jupyter.engine.state.decide import End, Start, Stop, decide
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.view import ENDED

# A task that swallows its cancellation is cancelled again; then it is abandoned, and ends with the process.
_CANCEL_AGAIN = 1.0  # s
_CANCELS = 5


class RunExecutor:
    """The loop of one run: it alone starts and stops tasks.

    `tasks` are the attempts that are executed, by task; `stopping` are those of them that were cancelled.
    """

    def __init__(self, session: RunSession) -> None:
        """An executor over the parts of a run."""
        self.session = session
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.stopping: set[str] = set()
        self._directives = RunDirectives(session.inputs, session.log, session.signals, session.calls.prices)

    async def run(self) -> str:
        """Execute the run to its end here: `done`, `failed`, `cancelled`, `waiting` (a gate) or `released` (drained).

        Raises StaleFence when somebody else has the run now, and any other StoreError, that of a shortage which a
        stage met too; then nothing more is written, and the run goes on from its log elsewhere.
        """
        log = self.session.log
        if log.state.state in ENDED:
            return log.state.state
        await self._report_lost()
        self._emit_started()
        try:
            while True:
                outcome = await self._step()
                if outcome is not None:
                    return outcome
        finally:
            log.abandon()
            await self._abandon()

    async def _report_lost(self) -> None:
        """Report what a former worker left in flight, durably: before this one sends anything itself."""
        if events := report_lost_calls(self.session.history):
            await self.session.log.commit(*events)

    def _emit_started(self) -> None:
        """Emit that this worker has the run; goes along with the first commit."""
        self.session.log.emit(draft("run.started", **self.session.inputs.worker), state="running")

    async def _step(self) -> str | None:
        log, signals = self.session.log, self.session.signals
        if log.broken is not None:
            raise log.broken
        if log.state.state in ENDED and not self.tasks:
            return log.state.state
        if signals.draining and not self.tasks:
            if signals.shortage is not None:
                await log.flush()
                raise signals.shortage
            await log.commit(release=True)
            return "released"
        commands = decide(log.pipeline, log.state, self._directives.skipping.union(self.tasks))
        for command in commands:
            if isinstance(command, Start):
                if not signals.draining:
                    self._start(command)
            elif isinstance(command, Stop):
                self._stop(command.task)
            else:
                return await self._end(command)
        await self._wait()
        return None

    def _start(self, start: Start) -> None:
        signals = self.session.signals
        signals.running.add(start.task)
        signals.rest(start.task, False)
        attempt = TaskAttempt(self.session, self._directives, start)
        task = asyncio.get_running_loop().create_task(attempt.run(), name=f"po {start.task}")
        task.add_done_callback(lambda task: self.session.log.wake.set())
        self.tasks[start.task] = task

    def _stop(self, name: str) -> None:
        if name in self.tasks and name not in self.stopping:
            self.stopping.add(name)
            self.tasks[name].cancel()

    async def _end(self, end: End) -> str | None:
        log = self.session.log
        cancelled = end.state == "cancelled"
        # A map that failed and has child runs broke off: nobody would end them. A batch is waited for by a resume.
        if log.state.works_elsewhere if cancelled else end.state == "failed" and log.state.open_shards:
            from po_jupyter.engine.run.wind_up import wind_up

            try:
                await wind_up(self.session.map_parts, batches=cancelled)
            except Drained:
                return None
        if end.state != "waiting":
            await self.session.calls.flush_cache()
            await log.commit(end_event(end), state=end.state, release=True)
            return end.state
        # A decision written just before `waiting` woke nobody: read the log once more before the lease is given back.
        await log.commit(end_event(end), state="waiting")
        await log.refresh()
        if log.state.state == "waiting" and isinstance(self._next_command(), End):
            await log.commit(release=True)
            return "waiting"
        self._emit_started()
        return None

    def _next_command(self) -> object:
        """The command that would be next if the run were not waiting."""
        commands = decide(self.session.log.pipeline, self.session.log.state)
        return commands[0] if commands else None

    async def _wait(self) -> None:
        """Wait until a task ended, or something happened in the log; cancelled tasks are cancelled again meanwhile."""
        log = self.session.log
        cancels = 0
        while self.tasks and not any(task.done() for task in self.tasks.values()):
            if not self.stopping:
                await log.wake.wait()
                break
            try:
                async with asyncio.timeout(_CANCEL_AGAIN):
                    await log.wake.wait()
                break
            except TimeoutError:
                cancels += 1
                self._cancel_again(cancels)
        log.wake.clear()
        for name in [n for n, t in self.tasks.items() if t.done()]:
            self._finish(name)

    def _cancel_again(self, cancels: int) -> None:
        for name in list(self.stopping):
            if cancels < _CANCELS:
                self.tasks[name].cancel()
            else:
                abandoned = self.tasks.pop(name)
                abandoned.add_done_callback(_retrieve)
                self._forget(name, cancelled=True)

    def _finish(self, name: str) -> None:
        task = self.tasks.pop(name)
        try:
            task.result()
        except (asyncio.CancelledError, Stopped):
            self._forget(name, cancelled=True)
        except Drained:
            self._forget(name, cancelled=False)
        else:
            self._forget(name, cancelled=False)

    def _forget(self, name: str, *, cancelled: bool) -> None:
        """Note that a task is executed no more."""
        log = self.session.log
        self.session.signals.running.discard(name)
        self.stopping.discard(name)
        if cancelled:
            task = log.state.tasks[name]
            if task.state == "running" and not (
                task.batches or task.open_shards
            ):  # else once they are collected
                log.emit(draft("task.cancelled", name))

    async def _abandon(self) -> None:
        """Something broke (a stale fence, a full disk): stop what runs, and write nothing more to the log."""
        for task in self.tasks.values():
            task.cancel()
            task.add_done_callback(_retrieve)
        if self.tasks:
            await asyncio.wait(self.tasks.values(), timeout=_CANCEL_AGAIN)


def _retrieve(task: asyncio.Task[None]) -> None:
    """Retrieve the error of an abandoned task: asyncio complains of errors that nobody retrieves."""
    if not task.cancelled():
        task.exception()
