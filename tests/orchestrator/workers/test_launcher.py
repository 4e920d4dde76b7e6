"""R1.2: a worker that cannot be started is tried again, and what it is started with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput, SpawnFailed
from po_jupyter.ipc.messages import WorkerRequest
from po_jupyter.model.run.definition import RunDefinition
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.workers.launcher import Launcher, LaunchSpec, launch_spec, silence_limit
from po_jupyter.platform import processes
from po_jupyter.store.protocol import Head

SPEC = LaunchSpec("/usr/bin/python", "/home/me", 4, 60.0)


class FakePool:
    """Zygotes that fail as told, and then fork a worker that is this process."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.interpreters: list[str | None] = []
        self.requests: list[WorkerRequest] = []
        self.forking = asyncio.Event()
        self.may_fork = asyncio.Event()
        self.may_fork.set()

    async def get(self, interpreter: str | None) -> FakePool:
        self.interpreters.append(interpreter)
        if self.errors:
            raise self.errors.pop(0)
        return self

    async def spawn(self, request: WorkerRequest, on_exit: Any) -> processes.Identity:
        self.requests.append(request)
        self.forking.set()
        await self.may_fork.wait()
        return processes.myself()


def launcher(pool: Any, data_dir: Path, **more: Any) -> Launcher:
    settings = Settings(
        data_dir=data_dir,
        spawn_attempts=3,
        spawn_delay=0.01,
        spawn_max_delay=0.02,
        auth_token="token-of-the-door",
        **more,
    )
    return Launcher(settings, pool, Path("/run/po.sock"), 8, KeyStore(data_dir))


def ignore(pid: int, status: int | None) -> None:
    raise AssertionError


async def test_a_worker_gets_its_run_the_settings_and_no_secret_of_the_door(tmp_path: Path) -> None:
    pool = FakePool(SpawnFailed("busy"), SpawnFailed("busy"))
    assert await launcher(pool, tmp_path).start("r", SPEC, ignore, watched=True) == processes.myself()
    assert pool.interpreters == ["/usr/bin/python"] * 3
    (request,) = pool.requests
    assert (request.run, request.expect, request.cwd, request.watched) == ("r", 4, "/home/me", True)
    assert (request.address, request.shards) == ("/run/po.sock", 8)
    assert request.log == str(tmp_path / "runs" / "r" / "worker.log")
    assert "auth_token" not in request.settings
    assert request.log_token is None
    assert Settings.model_validate(request.settings).data_dir == tmp_path


@pytest.mark.parametrize(
    ("errors", "tries"),
    [([SpawnFailed("busy")] * 9, 3), ([InvalidInput("no such Python")], 1)],
    ids=["again and again", "never to be"],
)
async def test_it_gives_up_after_so_many_tries(tmp_path: Path, errors: Sequence[Exception], tries: int) -> None:
    pool = FakePool(*errors)
    with pytest.raises(type(errors[0])):
        await launcher(pool, tmp_path).start("r", SPEC, ignore, watched=False)
    assert len(pool.interpreters) == tries


async def test_a_start_that_is_cancelled_still_says_which_process_it_made(tmp_path: Path) -> None:
    """The supervisor ends it: no worker is left without anybody knowing it."""
    pool = FakePool()
    pool.may_fork.clear()
    starting = asyncio.create_task(launcher(pool, tmp_path).start("r", SPEC, ignore, watched=False))
    await pool.forking.wait()
    starting.cancel()
    await asyncio.sleep(0)
    pool.may_fork.set()
    assert await starting == processes.myself()


def test_what_a_launch_needs_is_read_from_the_definition() -> None:
    settings = Settings(silence_grace=10.0)
    tasks = [{"name": "a", "prompt": "x", "timeout": 900}, {"name": "b"}]
    definition = RunDefinition({"tasks": tasks}, {}, interpreter="/venv/bin/python", cwd="/work")
    head: Any = {"run": "r", "fence": 2}
    assert launch_spec(head, definition, settings) == LaunchSpec("/venv/bin/python", "/work", 2, 910.0)
    assert silence_limit(RunDefinition({"tasks": tasks[1:]}, {}), settings) == 310.0


@pytest.mark.parametrize(
    ("task", "has_one"),
    [
        ({"name": "a", "prompt": "x"}, False),
        ({"name": "a", "prompt": "x", "output": {}, "output_type": "Answer = int"}, True),
        ({"name": "a"}, True),
        ({"name": "a", "source": "x = 1"}, True),
    ],
)
def test_only_what_imports_has_a_directory(tmp_path: Path, task: dict[str, Any], has_one: bool) -> None:
    """C1: a run of prompts imports nothing of its own, so nothing of its directory is on the path."""
    definition = RunDefinition({"tasks": [task]}, {}, cwd="/work")
    spec = launch_spec(cast(Head, {"fence": 1}), definition, Settings(data_dir=tmp_path))
    assert spec.cwd == ("/work" if has_one else None)
