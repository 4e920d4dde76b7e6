"""The supervisor: which runs have a worker, and what is done when one ends.

`attend(run)` is the one way in. It reads what the store says about the run and does what that asks for: start a
worker, tell one to look, end the run. So a submit, a poke, a recovery and a worker's end are all the same, and doing it
twice changes nothing.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput, NotFound, PoError, SpawnFailed, StoreError, VersionMismatch
from po_jupyter.model.run import ENDED
from po_jupyter.orchestrator import ending, processes
from po_jupyter.orchestrator.environment import worker_environment
from po_jupyter.orchestrator.feed import Feed
from po_jupyter.orchestrator.link import Channel, Message
from po_jupyter.orchestrator.queue import RunQueue
from po_jupyter.orchestrator.views import Views
from po_jupyter.orchestrator.zygotes import Zygotes
from po_jupyter.store.base import Head, Store

log = structlog.get_logger("po_jupyter.workers")

_LINGER = 3.0  # s that a worker may take to exit after its last word
_GRACE = 30.0  # s added to the longest timeout of a run's tasks before a silent worker is taken for hung
_STORE_RETRY = 2.0  # s until a run whose worker could not use the store is tried again


@dataclass(slots=True)
class Worker:
    """One worker process, ours or adopted."""

    run: str
    identity: processes.Identity
    silence: float  # s without a word after which it is taken for hung
    channel: Channel | None = None
    heard: float = field(default_factory=time.monotonic)
    bye: str | None = None
    killed: str | None = None  # why we ended it: cancel, silence, stop
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int:
        """Of the process, which leads its group."""
        return int(self.identity["pid"])


class Supervisor:
    """Owns the workers of the orchestrator that holds the store."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        views: Views,
        feed: Feed,
        zygotes: Zygotes,
        *,
        address: Path,
        run_off_loop: Callable[..., Awaitable[Any]],
        need: Callable[[Message], Awaitable[Message]],
    ) -> None:
        self._settings = settings
        self._store = store
        self._views = views
        self._feed = feed
        self._zygotes = zygotes
        self._address = address
        self._do = run_off_loop
        self._need = need
        self.queue = RunQueue()
        self.workers: dict[str, Worker] = {}
        self._starting: set[str] = set()
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False
        feed.on_interest = self._tell_interest

    # -- the one way in -------------------------------------------------------------------------

    def submitted(self, head: Head) -> None:
        """A run that was created right now: nothing to look up."""
        self.queue.add(head)
        self._pump()

    async def attend(self, run: str) -> None:
        """Do what the store says about this run. Raises nothing: what fails is logged, and recovery comes again."""
        if self._stopping:
            return
        try:
            async with self._locked(run):
                await self._attend(run)
        except NotFound:
            self.queue.discard(run)
        except PoError as error:
            log.error("cannot look after the run", run=run, error=error.message)

    async def _attend(self, run: str) -> None:
        head: Head = await self._do(self._store.head, run)
        if head["state"] in ENDED:
            self.queue.discard(run)
            return
        worker = self.workers.get(run)
        if worker is not None and worker.bye is None:
            state = await self._do(self._views.state, head)
            if state.cancel_requested:
                self._cancel(worker)
            elif worker.channel is not None:
                worker.channel.send("look")
            return
        if run in self._starting:
            return  # it will read the log when it is up
        holder = head["holder"]
        if worker is None and holder is not None and processes.alive(holder) and holder["pid"] != _me():
            self._expect(head)
            return
        if worker is not None:
            await self._finished(worker)
        outcome, head = await self._do(ending.settle, self._store, self._views, run)
        if outcome == "pending":
            self.queue.add(head)
            self._pump()
        elif outcome == "ended":
            self.queue.discard(run)
            self._feed.changed(run)

    def live(self) -> int:
        """Runs that are at work or want to be."""
        return len(self.queue) + len(self._starting) + sum(w.bye is None for w in self.workers.values())

    # -- starting -------------------------------------------------------------------------------

    def _pump(self) -> None:
        while not self._stopping and self._busy() < self._settings.max_running:
            run = self.queue.pop()
            if run is None:
                return
            if run in self._starting or ((known := self.workers.get(run)) is not None and known.bye is None):
                continue
            self._starting.add(run)
            self._go(self._start(run), f"start {run}")

    def _busy(self) -> int:
        return len(self._starting) + sum(w.bye is None for w in self.workers.values())

    async def _start(self, run: str) -> None:
        try:
            head, definition = await self._do(self._read, run)
            if head["state"] not in ("pending", "running"):
                return
            retry = AsyncRetrying(
                stop=stop_after_attempt(self._settings.spawn_attempts),
                wait=wait_exponential_jitter(initial=0.5, max=30.0, jitter=0.5),
                retry=retry_if_exception_type((SpawnFailed, VersionMismatch)),
                before_sleep=lambda again: log.warning(
                    "a worker could not be started", run=run, attempt=again.attempt_number,
                    error=str(again.outcome.exception()) if again.outcome else "",
                ),
                reraise=True,
            )  # fmt: skip
            async for attempt in retry:
                with attempt:
                    await self._spawn(head, definition)
        except NotFound:
            pass
        except (SpawnFailed, VersionMismatch, InvalidInput) as error:
            if not self._stopping:
                log.error("no worker for the run", run=run, error=error.message)
                await self._do(ending.dead, self._store, run, error)
                self._feed.changed(run)
        except StoreError as error:
            log.error("the store failed", run=run, error=error.message)
            self._later(_STORE_RETRY, run)
        finally:
            self._starting.discard(run)
            self._pump()

    def _read(self, run: str) -> tuple[Head, dict[str, Any]]:
        return self._store.head(run), self._store.definition(run)

    async def _spawn(self, head: Head, definition: dict[str, Any]) -> None:
        run = head["run"]
        zygote = await self._zygotes.get(definition.get("interpreter"))
        settings = self._settings
        request = {
            "run": run,
            "settings": settings.model_dump(mode="json", exclude={"auth_token"}),
            "address": str(self._address),
            "expect": head["fence"],
            "watched": self._feed.watched(run),
            "cwd": definition.get("cwd"),
            "log": str(settings.data_dir / "runs" / run / "worker.log"),
            "env": worker_environment(settings.worker_env),
        }
        early: list[int | None] = []
        worker: Worker | None = None

        def on_exit(pid: int, status: int | None) -> None:
            if worker is None:
                early.append(status)
            else:
                self._exited(worker, status)

        identity = await zygote.spawn(request, on_exit)
        worker = Worker(run, identity, _silence(definition, settings))
        self._starting.discard(run)
        self.workers[run] = worker
        log.info("worker started", run=run, pid=worker.pid)
        if early:
            self._exited(worker, early[0])

    # -- the link -------------------------------------------------------------------------------

    async def serve(self, channel: Channel, first: Message) -> None:
        """One connection: a worker that says hello, or another server that pokes."""
        if first["op"] == "poke":
            await self.attend(str(first.get("run")))
            channel.send("ok")
            await channel.drain()
        elif first["op"] == "hello":
            worker = await self._greet(channel, first)
            if worker is None:
                channel.send("stop")
                await channel.drain()
                return
            worker.channel = channel
            channel.send("welcome", watched=self._feed.watched(worker.run))
            await self._look_again(worker)
            while (message := await channel.receive()) is not None:
                self._heard(worker, message)
            if worker.channel is channel:
                worker.channel = None

    async def _greet(self, channel: Channel, hello: Message) -> Worker | None:
        run, pid = str(hello.get("run")), hello.get("pid")
        peer = channel.peer()
        if not isinstance(pid, int) or (peer is not None and peer[0] not in (0, pid)):
            return None  # 0: the kernel cannot name a process of another pid namespace
        known = self.workers.get(run)
        if known is not None:
            return known if known.pid == pid else None
        try:
            head: Head = await self._do(self._store.head, run)
        except PoError:
            return None
        known = self.workers.get(run)  # the spawn's answer may have come in between
        if known is not None:
            return known if known.pid == pid else None
        if head["fence"] != hello.get("fence") or (head["holder"] or {}).get("pid") != pid:
            return None
        return self._expect(head)

    def _expect(self, head: Head) -> Worker:
        """Adopt: a worker that an earlier orchestrator started."""
        run = head["run"]
        holder = head["holder"]
        assert holder is not None
        worker = self.workers[run] = Worker(run, dict(holder), _GRACE + 7 * 24 * 3600)
        self.queue.discard(run)
        log.info("worker adopted", run=run, pid=worker.pid)

        async def watch() -> None:
            await processes.gone(worker.identity)
            await asyncio.sleep(0.05)  # its last words may still be on the way
            self._exited(worker, None)

        self._go(watch(), f"watch {run}")
        self._go(self._measure(worker), f"measure {run}")
        return worker

    async def _measure(self, worker: Worker) -> None:
        worker.silence = _silence(await self._do(self._store.definition, worker.run), self._settings)

    async def _look_again(self, worker: Worker) -> None:
        head: Head = await self._do(self._store.head, worker.run)
        if head["state"] not in ENDED and (await self._do(self._views.state, head)).cancel_requested:
            self._cancel(worker)

    def _heard(self, worker: Worker, message: Message) -> None:
        worker.heard = time.monotonic()
        match message["op"]:
            case "beat":
                if worker.channel is not None:
                    worker.channel.send("beat")
            case "committed":
                self._feed.changed(worker.run)
            case "text":
                self._feed.text(worker.run, {k: v for k, v in message.items() if k != "op"})
            case "need":
                self._go(self._answer(worker, message), "need")
            case "bye":
                worker.bye = str(message.get("state"))
                self._feed.changed(worker.run)
                self._later_kill(worker, _LINGER, "lingers")
                self._pump()

    async def _answer(self, worker: Worker, message: Message) -> None:
        try:
            answer = await self._need(message)
        except PoError as error:
            answer = {"error": error.to_json()}
        if worker.channel is not None:
            worker.channel.send("answer", **{**answer, "id": message.get("id")})

    def _tell_interest(self, run: str | None) -> None:
        for worker in self.workers.values():
            if worker.channel is not None and run in (None, worker.run):
                worker.channel.send("watched", on=self._feed.watched(worker.run))

    # -- ending ---------------------------------------------------------------------------------

    def _cancel(self, worker: Worker) -> None:
        if worker.channel is not None:
            worker.channel.send("cancel")
        self._later_kill(worker, self._settings.cancel_timeout, "cancel")

    def _later_kill(self, worker: Worker, delay: float, why: str) -> None:
        async def kill() -> None:
            try:
                async with asyncio.timeout(delay):
                    await worker.ended.wait()
            except TimeoutError:
                self._kill(worker, why)

        self._go(kill(), f"end {worker.run}")

    def _kill(self, worker: Worker, why: str) -> None:
        if not worker.ended.is_set():
            log.warning("ending a worker", run=worker.run, pid=worker.pid, why=why)
            worker.killed = worker.killed or why
            processes.end_group(worker.identity)

    def _exited(self, worker: Worker, status: int | None) -> None:
        if worker.ended.is_set():
            return
        if status is None and processes.alive(worker.identity):
            # Its zygote ended, not the worker: watch the process itself.
            async def watch() -> None:
                await processes.gone(worker.identity)
                self._exited(worker, None)

            self._go(watch(), f"watch {worker.run}")
            return
        worker.ended.set()
        self._go(self._after(worker, status), f"after {worker.run}")

    async def _after(self, worker: Worker, status: int | None) -> None:
        run = worker.run
        async with self._locked(run):
            if self.workers.get(run) is worker:
                del self.workers[run]
            if status is None:
                await self._do(processes.end_leftovers, worker.pid)
            delay: float | None = 0.0
            if self._stopping:
                delay = None
            elif worker.bye is not None and status in (0, None):
                delay = None if worker.bye in ENDED else 0.0
            else:
                try:
                    delay = await self._crashed(worker, status)
                except PoError as error:
                    log.error("cannot record a worker's end", run=run, error=error.message)
                    delay = _STORE_RETRY
        self._feed.changed(run)
        if delay == 0.0:
            await self.attend(run)
        elif delay is not None:
            self._later(delay, run)
        self._pump()

    async def _crashed(self, worker: Worker, status: int | None) -> float | None:
        """Record it; seconds until the run is attended to again, None for never."""
        end = ending.Exit(worker.identity, status, worker.killed, self._settings.data_dir / "runs" / worker.run)
        crashes = await self._do(
            ending.crashed, self._store, self._views, worker.run, end, self._settings.max_crashes
        )
        if crashes is None:
            return 0.0
        return 0.0 if crashes <= 1 else min(30.0, 2.0 ** (crashes - 2)) * random.uniform(0.5, 1.5)  # noqa: S311

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

        Time passes here in short steps that count for at most twice their length: a suspended laptop adds nothing.
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

    async def stop(self, *, drain: bool = True) -> None:
        """Drain every worker, wait `shutdown_timeout`, end what is left. With `drain` false: let them go on."""
        self._stopping = True
        for task in list(self._tasks):
            if task.get_name().startswith("start "):
                task.cancel()
        if drain:
            workers = list(self.workers.values())
            for worker in workers:
                if worker.channel is not None:
                    worker.channel.send("drain")
                else:
                    processes.end_group(worker.identity, 15)
            await self._all_ended(workers, self._settings.shutdown_timeout)
            for worker in workers:
                self._kill(worker, "stop")
            await self._all_ended(workers, 5.0)
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _all_ended(self, workers: list[Worker], timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                for worker in workers:
                    await worker.ended.wait()
        except TimeoutError:
            pass

    # -- small things ---------------------------------------------------------------------------

    def _later(self, delay: float, run: str) -> None:
        async def again() -> None:
            await asyncio.sleep(delay)
            await self.attend(run)

        self._go(again(), f"again {run}")

    def _go(self, work: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._gone)

    def _gone(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("unexpected", task=task.get_name(), exc_info=error)

    @asynccontextmanager
    async def _locked(self, run: str) -> Any:
        lock, users = self._locks.get(run, (asyncio.Lock(), 0))
        self._locks[run] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(run)
            if users > 1:
                self._locks[run] = (lock, users - 1)


def _me() -> int:
    import os

    return os.getpid()


def _silence(definition: dict[str, Any], settings: Settings) -> float:
    tasks = definition["pipeline"].get("tasks", ())
    longest = max((float(t.get("timeout", 300.0)) for t in tasks if isinstance(t, dict)), default=300.0)
    return max(longest, 300.0 if any(isinstance(t, str) for t in tasks) else 0.0) + _GRACE


__all__ = ["Supervisor", "Worker"]
_ = sys
