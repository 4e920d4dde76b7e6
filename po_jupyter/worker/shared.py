"""A process of many runs: it works runs off together that have no code of a person's own.

The orchestrator sends it runs (`TakeRun`) and each of them is worked off as in a process of its own, by a
`run_worker.RunWorker`. What would hold up the others, a step of more than a second or a large map, gives its run back
to be worked off alone. It ends when it is told to drain, or when it has no run and no orchestrator.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import structlog

from po_jupyter.config import Settings
from po_jupyter.engine.lifecycle.failure_log import FailureLog
from po_jupyter.errors import StaleFence, StoreError
from po_jupyter.ipc.credentials import Credential
from po_jupyter.ipc.exit_status import ExitStatus
from po_jupyter.ipc.messages import DrainWorker, TakeRun, Welcome, WorkerRequest
from po_jupyter.ipc.turn_file import MAX_SHARED_ROWS, TurnFile, turn_file_of
from po_jupyter.llm.calls.answer_queue import AnswerQueue
from po_jupyter.llm.providers.registry import Connections
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.platform import signals
from po_jupyter.store.protocol import Store
from po_jupyter.telemetry.logging import bind_contextvars
from po_jupyter.worker.call_cache import open_call_cache
from po_jupyter.worker.open_calls import CallSlots
from po_jupyter.worker.orchestrator_link import OrchestratorLink, ProcessHandlers
from po_jupyter.worker.run_link import RunLink
from po_jupyter.worker.run_worker import ProcessParts, RunWorker, holder_of
from po_jupyter.worker.turns import RunTurn, TurnLoop, begin

log = structlog.get_logger(__name__)

_OPENING = 8  # runs that are claimed and read at the same time: the others go on meanwhile


@dataclass(slots=True, eq=False)
class _RunHere:
    """A run that is worked off here."""

    link: RunLink
    turn: RunTurn
    task: asyncio.Task[int] | None = None
    needs_own: str = ""  # process, and why

    def move(self, reason: str) -> None:
        """Give the run back, to be worked off alone."""
        if not self.needs_own:
            self.needs_own = reason
            log.warning("the run goes on in a process of its own", run=self.link.run, why=reason)
            self.link.deliver(DrainWorker())

    def stop(self) -> None:
        """Let go of the run at once: another process has it."""
        if self.task is not None:
            self.task.cancel()


class _LargeMaps(FailureLog):
    """An observer that moves a run with a large map."""

    __slots__ = ("_here",)

    def __init__(self, here: _RunHere) -> None:
        super().__init__(here.link.run)
        self._here = here

    def on_map_start(self, task: Task, rows: int) -> None:
        if rows > MAX_SHARED_ROWS:
            self._here.move(f"task {task.name!r} has {rows:,} rows")


class SharedWorker:
    """The runs of this process."""

    def __init__(self, request: WorkerRequest, settings: Settings, store: Store) -> None:
        """Connects nothing yet. Needs a running loop."""
        assert request.turns is not None
        loop = asyncio.get_running_loop()
        assert isinstance(loop, TurnLoop)
        self._loop = loop
        self._turns = TurnFile(turn_file_of(Path(request.turns), os.getpid()))
        self._runs: dict[str, _RunHere] = {}
        self._draining = False
        self._idle = asyncio.Event()
        self._opening = asyncio.Semaphore(_OPENING)
        self._connections = Connections()
        cache = open_call_cache(settings, request.store)
        self._answers = AnswerQueue(cache) if cache is not None else None
        self._parts = ProcessParts(
            settings=settings,
            store=store,
            holder={**holder_of(settings), "shared": True},
            slots=CallSlots(),
            answers=self._answers,
            connections=self._connections,
            failure_log=self._failure_log,
            environ=dict(os.environ),
        )
        self._link = OrchestratorLink(
            Path(request.address),
            settings,
            credential=Credential.from_text(request.credential) if request.credential else None,
            shared=ProcessHandlers(take=self._take, drain=self.drain, disconnected=self._disconnected),
        )

    async def serve(self) -> ExitStatus:
        """Work off what comes, until this process has to end."""
        signals.on_signal(signal.SIGTERM, self.drain)
        self._link.start()
        await self._idle.wait()
        await self._link.drain()
        await self._link.close()
        if self._answers is not None:
            await self._answers.aclose()
        await self._connections.aclose()
        return ExitStatus.ORDERLY

    def drain(self) -> None:
        """Give every run back after the calls in flight, take no other, and end."""
        self._draining = True
        for here in list(self._runs.values()):
            here.link.deliver(DrainWorker())
        self._end_when_idle()

    def _disconnected(self) -> None:
        if not self._runs:
            self.drain()

    def _end_when_idle(self) -> None:
        if self._draining and not self._runs:
            self._idle.set()

    def _failure_log(self, run: str) -> FailureLog:
        return _LargeMaps(self._runs[run])

    def _take(self, message: TakeRun) -> None:
        run = message.run
        if run in self._runs:
            return
        link = RunLink(self._link, run, stop=lambda: here.stop())
        turn = RunTurn(
            self._loop,
            self._turns,
            run,
            lambda seconds: here.move(f"it kept the others waiting for {seconds:.1f} s"),
        )
        here = self._runs[run] = _RunHere(link, turn)
        self._link.join(link)
        link.deliver(Welcome(message.watched, message.rates))
        if self._draining:
            link.deliver(DrainWorker())
        context = contextvars.copy_context()
        context.run(begin, turn)
        context.run(bind_contextvars, run=run)
        here.task = self._loop.create_task(
            self._status(here, message.expect), name=f"run {run}", context=context
        )
        # Not by a `finally` of the task: one that is cancelled before its first step never gets there.
        here.task.add_done_callback(lambda task: self._left(here, task))

    def _left(self, here: _RunHere, task: asyncio.Task[int]) -> None:
        run = here.link.run
        here.turn.release()
        del self._runs[run]
        if task.cancelled():
            status: int = ExitStatus.OVERTAKEN
        else:
            status = 1 if task.exception() is not None else task.result()
        self._link.left(run, status)
        self._end_when_idle()

    async def _status(self, here: _RunHere, expect: int | None) -> int:
        try:
            state = await RunWorker(self._parts, here.link, expect).work_off(self._opening)
        except StaleFence as error:
            log.warning("overtaken", reason=error.message)
            return ExitStatus.OVERTAKEN
        except StoreError as error:
            log.error("the store failed", error=error.message, hint=error.hint)
            return ExitStatus.STORE_FAILED
        except asyncio.CancelledError:
            return ExitStatus.OVERTAKEN
        except Exception:
            log.exception("the run broke off")
            return 1
        if here.needs_own and state == "released":
            return ExitStatus.NEEDS_OWN_PROCESS
        return ExitStatus.ORDERLY
