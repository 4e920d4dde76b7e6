"""What the tests of the orchestrator share: pipelines whose tasks sleep, block or die, and waiting for runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from po_jupyter.config import Settings
from po_jupyter.model.run.view import ENDED, RunView
from po_jupyter.orchestrator.service import Orchestrator, RunningOrchestrator
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.store.disk.store import DiskStore
from tests.support.paths import ROOT

# What a task does is in its config, so that every test uses the same few lines of code.
SOURCE = """
import asyncio, os, signal, subprocess, sys, time

async def ingestion(ctx):
    config = ctx.config
    if config.get("child"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        open(config["child"], "w").write(str(child.pid))
    if config.get("crash") or config.get("block"):
        await asyncio.sleep(0.1)  # that the task started is told within 50 ms
    if config.get("crash"):
        os.kill(os.getpid(), signal.SIGKILL)
    if config.get("block"):
        time.sleep(config["block"])
    await asyncio.sleep(config.get("seconds", 0))
    if config.get("fail") and not os.path.exists(config["fail"]):
        raise ValueError("told to fail")
    return {"said": ctx.meta["task"] if "task" in ctx.meta else None, "pid": os.getpid(), "cwd": os.getcwd()}
"""


_STARTED: set[Path] = set()  # data directories of orchestrators that a test started


def task(name: str, **config: Any) -> dict[str, Any]:
    """A Python task that does what `config` says."""
    retry = {"max_attempts": 1}
    return {"name": name, "source": SOURCE, "config": config, "retry": retry}


def body(*tasks: dict[str, Any], name: str = "test", **more: Any) -> dict[str, Any]:
    """A `POST runs` body."""
    return {
        "pipeline": {"name": name, "tasks": list(tasks)},
        "seed": {"name": "seed", "data": {"text": "x"}},
        **more,
    }


def settings(data_dir: Path, **more: Any) -> Settings:
    """Settings of a test: everything that waits waits less."""
    return Settings(**{"data_dir": data_dir, "heartbeat": 0.2, "lease_ttl": 1.5, "store_shards": 2, **more})


@asynccontextmanager
async def orchestrator(data_dir: Path, **more: Any) -> AsyncIterator[RunningOrchestrator]:
    """A started one, stopped at the end."""
    _STARTED.add(data_dir)
    starting = Orchestrator(settings(data_dir, **more))
    try:
        yield await starting.start()
    finally:
        await starting.stop()


async def wait_for_state(
    service: RunningOrchestrator, run: str, states: Sequence[str] = tuple(ENDED), patience: float = 20.0
) -> RunView:
    """The run once it is in one of `states`."""
    view = await service.runs.get(run, None)
    async with service.changes.subscribe(run) as notes:
        try:
            async with asyncio.timeout(patience):
                while (view := await service.runs.get(run, None)).state not in states:
                    await notes.get(0.5)
        except TimeoutError:
            log = service.settings.data_dir / "runs" / run / "worker.log"
            text = log.read_text() if log.exists() else "no log"
            tasks = [(t.name, t.state) for t in view.tasks]
            raise AssertionError(f"still {view.state}: {tasks} {view.error}\n{text[-2000:]}") from None
    return view


async def wait_for_task_state(
    service: RunningOrchestrator, run: str, name: str, state: str = "running", patience: float = 20.0
) -> RunView:
    """The run once one of its tasks is in that state."""
    async with service.changes.subscribe(run) as notes, asyncio.timeout(patience):
        while True:
            view = await service.runs.get(run, None)
            if next(t for t in view.tasks if t.name == name).state == state:
                return view
            await notes.get(0.5)


async def wait_for_file(path: Path, patience: float = 10.0, *, words: int = 1) -> str:
    """The text of a file that another process writes, once it has so many words."""
    async with asyncio.timeout(patience):
        while not (path.exists() and len(path.read_text().split()) >= words):
            await asyncio.sleep(0.02)
    return path.read_text()


async def wait_for_holder(data_dir: Path, run: str) -> int:
    """The pid of the run's worker, once it has one, as the store knows it."""
    store = DiskStore(data_dir / "store")
    try:
        while (holder := store.head(run)["holder"]) is None:
            await asyncio.sleep(0.02)
        return int(holder["pid"])
    finally:
        store.close()


async def wait_for_exit(pids: Sequence[int], patience: float = 10.0) -> None:
    """Return when none of these processes lives any more."""
    until = time.monotonic() + patience
    while living := [p for p in pids if is_alive(p)]:
        assert time.monotonic() < until, {p: psutil.Process(p).cmdline() for p in living}
        await asyncio.sleep(0.05)


def is_alive(pid: int) -> bool:
    """A zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def processes_of(data_dir: Path) -> list[int]:
    """Every process whose standard error is a log in this data directory: workers and zygotes of a test."""
    found = []
    for process in psutil.process_iter():
        with suppress(OSError):
            if os.readlink(f"/proc/{process.pid}/fd/2").startswith(str(data_dir)) and is_alive(process.pid):
                found.append(process.pid)
    return found


def end_workers(data_dir: Path) -> None:
    """Kill what a stopped server left at work: a stop hands over, and a test has nobody who takes over."""
    for pid in processes_of(data_dir):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def end_all_workers() -> None:
    """`end_workers` of every orchestrator since the last time."""
    while _STARTED:
        end_workers(_STARTED.pop())


class Server:
    """An orchestrator in a process of its own, to be killed. Takes bodies of runs, and answers with their ids."""

    def __init__(self, data_dir: Path, **more: Any) -> None:
        _STARTED.add(data_dir)
        config = settings(data_dir, **more).model_dump(mode="json", exclude={"auth_token"})
        self.process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(config)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert self._exchange() == "ready"

    def _exchange(self, line: Any = None) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if line is not None:
            self.process.stdin.write(json.dumps(line) + "\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the server ended"
        return json.loads(answer)

    def submit(self, body: dict[str, Any]) -> str:
        """The id of the new run."""
        return str(self._exchange(body))

    def kill(self) -> None:
        """kill -9, of the server alone."""
        self.process.send_signal(signal.SIGKILL)
        self._end()

    def stop(self) -> None:
        """A graceful stop."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._end()

    def _end(self) -> None:
        self.process.wait(20)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


async def _serve(config: dict[str, Any]) -> None:
    orchestrator = Orchestrator(Settings.model_validate(config))
    service = await orchestrator.start()
    print(json.dumps("ready"), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        view, _ = await service.submissions.submit(json.loads(line), owner="local")
        print(json.dumps(view.id), flush=True)
    await orchestrator.stop()


if __name__ == "__main__":
    import logging

    from po_jupyter.telemetry.logging import configure

    config = json.loads(sys.argv[1])
    configure(Settings.model_validate(config), file=Path(config["data_dir"]) / "logs" / "orchestrator.log")
    logging.raiseExceptions = False
    asyncio.run(_serve(config))


class Anyone:
    """Threads for whoever asks (`OwnerThreads`)."""

    def of(self, owner: str) -> ToThread:
        """Any thread."""
        return asyncio.to_thread
