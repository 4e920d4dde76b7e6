"""Workers that are started by spawn: one is ready before there is a run, and where there can be none it is said why."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput, SpawnFailed, VersionMismatch
from po_jupyter.ipc.credentials import Credential
from po_jupyter.ipc.exit_status import ExitStatus
from po_jupyter.ipc.messages import WorkerRequest
from po_jupyter.orchestrator.workers import spawned_workers
from po_jupyter.orchestrator.workers.spawned_workers import SpawnedWorkers, is_spawn, starter, worker_pool
from po_jupyter.orchestrator.workers.zygote_pool import ZygotePool
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.worker.zygote import version
from tests.support.stored_runs import RUN, store_run

pytestmark = pytest.mark.integration


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[ZygotePool]:
    pool = ZygotePool(tmp_path / "logs", starter(tmp_path / "s"))
    yield pool
    await pool.close()


def interpreter(folder: Path, modules: dict[str, str]) -> str:
    """A Python that has the modules of a `po_jupyter` of its own, and none of ours."""
    for name, source in modules.items():
        path = folder / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        (path.parent / "__init__.py").touch()
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={folder / "site"} exec {sys.executable} -S "$@"\n')
    program.chmod(0o755)
    return str(program)


def greeting(version: str) -> str:
    hello = {"op": "hello", "version": version, "protocol": 1}
    return f"import json\nprint(json.dumps({hello!r}), flush=True)\ninput()\n"


def request_of(data_dir: Path, run: str = RUN, fence: int = 0) -> WorkerRequest:
    settings = Settings(data_dir=data_dir, orphan_timeout=5.0).model_dump(mode="json", exclude={"auth_token"})
    return WorkerRequest(
        run=run, expect=fence, address=str(data_dir / "s"), watched=False, shards=1, settings=settings, cwd=None,
        log=str(data_dir / "runs" / run / "worker.log"), env=dict(os.environ), log_token=None,
    )  # fmt: skip


async def worked_off(workers: Any, request: WorkerRequest) -> tuple[int, int | None]:
    """The pid and the exit status of a worker for that request."""
    ended: asyncio.Future[tuple[int, int | None]] = asyncio.get_running_loop().create_future()
    identity = await workers.spawn(request, lambda pid, status: ended.set_result((pid, status)))
    async with asyncio.timeout(30):
        pid, status = await ended
    assert pid == identity["pid"]
    return pid, status


async def test_the_one_that_waits_gets_the_run_and_is_replaced(pool: ZygotePool, tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "store", shards=1)
    store_run(store)
    workers = await pool.get(None)
    assert await pool.get(sys.executable) is workers
    (waiting,) = pool.pids()
    assert await worked_off(workers, request_of(tmp_path)) == (waiting, ExitStatus.ORDERLY)
    assert store.head(RUN)["state"] == "done"
    assert not psutil.pid_exists(waiting), "it is reaped"
    async with asyncio.timeout(20):
        while pool.pids() in ([], [waiting]):
            await asyncio.sleep(0.02)
    assert await worked_off(workers, request_of(tmp_path, fence=7)) != (waiting, ExitStatus.ORDERLY)
    store.close()


async def test_nothing_that_others_can_read_has_the_secret_of_a_worker(
    pool: ZygotePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[WorkerRequest] = []
    send = spawned_workers.SpawnedProcess.send

    async def note(self: Any, request: WorkerRequest) -> Any:
        process = psutil.Process(self.pid)
        where = " ".join([*process.cmdline(), *process.environ().values()])
        sent.append(request)
        assert request.credential is not None and request.credential not in repr(request)
        assert Credential.from_text(request.credential).secret.hex() not in where
        return await send(self, request)

    monkeypatch.setattr(spawned_workers.SpawnedProcess, "send", note)
    workers = await pool.get(None)
    for _ in range(2):
        await worked_off(workers, request_of(tmp_path, run="1" * 22))
    credentials = {request.credential for request in sent}
    assert len(credentials) == 2 and None not in credentials, "each has its own"


async def test_one_that_died_while_it_waited_is_replaced_when_it_is_needed(
    pool: ZygotePool, tmp_path: Path
) -> None:
    workers = await pool.get(None)
    (waiting,) = pool.pids()
    psutil.Process(waiting).kill()
    async with asyncio.timeout(10):
        while psutil.pid_exists(waiting):
            await asyncio.sleep(0.01)
    pid, status = await worked_off(workers, request_of(tmp_path))
    assert pid != waiting and status is not None


async def test_several_runs_at_once_have_a_process_each(pool: ZygotePool, tmp_path: Path) -> None:
    workers = await pool.get(None)
    runs = [f"{number}" * 22 for number in range(1, 4)]
    ends = await asyncio.gather(*(worked_off(workers, request_of(tmp_path, run)) for run in runs))
    assert len({pid for pid, _ in ends}) == 3


async def test_a_pool_that_is_closed_leaves_nothing_that_waits(tmp_path: Path) -> None:
    pool = ZygotePool(tmp_path / "logs", starter(tmp_path / "s"))
    workers = await pool.get(None)
    (waiting,) = pool.pids()
    await pool.close()
    assert not psutil.pid_exists(waiting)
    with pytest.raises(SpawnFailed, match="is stopping"):
        await workers.spawn(request_of(tmp_path), lambda pid, status: None)
    slow = interpreter(tmp_path, {"po_jupyter/worker/spawned.py": "import time\ntime.sleep(60)\n"})
    pool = ZygotePool(tmp_path / "logs", starter(tmp_path / "s"))
    starting = asyncio.create_task(pool.get(slow))
    await asyncio.sleep(0.3)
    await pool.close()
    with pytest.raises(SpawnFailed, match="is stopping"):
        await starting


async def test_another_version_is_named(pool: ZygotePool, tmp_path: Path) -> None:
    new = interpreter(tmp_path / "new", {"po_jupyter/worker/spawned.py": greeting("99.0")})
    with pytest.raises(VersionMismatch, match=r"has po_jupyter 99\.0") as raised:
        await pool.get(new)
    assert raised.value.hint == f"{new} -m pip install po_jupyter=={version()}"
    old = interpreter(tmp_path / "old", {"po_jupyter/orchestrator/zygote.py": ""})
    (tmp_path / "old" / "site" / "po_jupyter" / "__init__.py").write_text("__version__ = '0.0.9'\n")
    with pytest.raises(VersionMismatch, match=rf"has po_jupyter 0\.0\.9, this orchestrator is {version()}"):
        await pool.get(old)
    with pytest.raises(VersionMismatch, match="incomplete or very old po_jupyter"):
        await pool.get(interpreter(tmp_path / "none", {"po_jupyter/x.py": ""}))


async def test_an_interpreter_that_cannot_start_says_why(pool: ZygotePool, tmp_path: Path) -> None:
    broken = interpreter(tmp_path, {"po_jupyter/worker/spawned.py": "import no_such_dependency\n"})
    with pytest.raises(SpawnFailed, match="No module named 'no_such_dependency'"):
        await pool.get(broken)
    with pytest.raises(InvalidInput, match="no Python interpreter at"):
        await pool.get(str(tmp_path / "nowhere"))
    nonsense = interpreter(tmp_path / "2", {"po_jupyter/worker/spawned.py": "print('ready')\n"})
    with pytest.raises(SpawnFailed, match="workers cannot be started with"):
        await pool.get(nonsense)


@pytest.mark.parametrize(
    ("system", "setting", "spawn"),
    [
        ("linux", None, False), ("darwin", None, True), ("win32", None, True),
        ("linux", "spawn", True), ("darwin", "fork", False),
    ],
)  # fmt: skip
def test_workers_are_spawned_where_a_fork_is_missing_or_unsafe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str, setting: Any, spawn: bool
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert is_spawn(setting) == spawn
    pool = worker_pool(Settings(data_dir=tmp_path, worker_start=setting))
    assert (pool._start_source.__qualname__.startswith("starter")) == spawn


def test_a_process_that_is_not_needed_ends_with_its_standard_input(tmp_path: Path) -> None:
    """The orchestrator may be killed: nothing that it kept ready outlives it."""
    import subprocess

    process = subprocess.Popen(
        [sys.executable, "-P", "-m", spawned_workers.MODULE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    output, _ = process.communicate(b"", timeout=60)
    assert process.returncode == 0
    assert b'"op":"hello"' in output


def test_the_workers_of_an_interpreter_are_what_a_pool_needs(tmp_path: Path) -> None:
    workers = SpawnedWorkers(sys.executable, tmp_path, tmp_path / "s")
    assert workers.alive and workers.pid is None
