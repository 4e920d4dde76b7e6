"""R1.2, R3.3: what looks like death and is none, what fails and is tried again, what must end by itself."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.ipc import channel as link
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.seed import Seed
from po_jupyter.orchestrator.dispatch.lease import OrchestratorLease
from po_jupyter.orchestrator.service import Orchestrator, RunningOrchestrator
from po_jupyter.orchestrator.submission.request import Submission, new_run
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit
from po_jupyter.testing.model_server import ModelServer
from tests.support.orchestrator import (
    ROOT,
    Server,
    body,
    is_alive,
    orchestrator,
    processes_of,
    settings,
    task,
    wait_for_exit,
    wait_for_file,
    wait_for_holder,
    wait_for_state,
    wait_for_task_state,
)

HOLDS = """
import ctypes, re

def ingestion(ctx):
    if ctx.config["how"] == "c":
        ctypes.PyDLL(None).usleep(2_500_000)      # a C function that keeps the GIL
    else:
        for _ in range(3):
            re.match(r"(a|aa)+$", "a" * 27 + "b")  # hundreds of thousands of ways to fail, in one C call
    return "held"
"""

STEPS = """
import asyncio

async def ingestion(ctx):
    for _ in range(8):
        await asyncio.sleep(0.15)
    return "stepped"
"""

ASKS = """
async def ingestion(ctx):
    said = []
    for i in range(ctx.config["times"]):
        said.append((await ctx.llm.chat(f"question {i}")).text)
    return said
"""


async def types_of(service: RunningOrchestrator, run: str) -> list[str]:
    return [e["type"] for e in await service.runs.events(run, None)]


def one(name: str, source: str, **config: Any) -> dict[str, Any]:
    return {"name": name, "source": source, "config": config}


# -- starting --------------------------------------------------------------------------------------


def flaky(folder: Path) -> tuple[Path, Path]:
    """An interpreter that does not start while the file `broken` has a number above zero in it, and counts it
    down; (the program, that file). When it was tried is in `tried` beside it."""
    program, broken = folder / "python", folder / "broken"
    broken.write_text("0")
    program.write_text(
        f"#!{sys.executable} -S\n"
        "import os, sys, time\n"
        f"left = int(open({str(broken)!r}).read())\n"
        f"open({str(folder / 'tried')!r}, 'a').write(f'{{time.monotonic()}}\\n')\n"
        "if left:\n"
        f"    open({str(broken)!r}, 'w').write(str(left - 1))\n"
        "    sys.exit('broken today')\n"
        f"os.environ['PYTHONPATH'] = {str(ROOT)!r}\n"
        f"os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])\n"
    )
    program.chmod(0o755)
    return program, broken


async def test_a_worker_that_cannot_be_started_is_tried_again_with_growing_waits(tmp_path: Path) -> None:
    """R1.2: exponential backoff with jitter; it is no crash, and the run is done in the end."""
    program, broken = flaky(tmp_path)
    async with orchestrator(tmp_path / "data", max_running=1, spawn_attempts=5, spawn_delay=0.2) as service:
        first, _ = await service.submissions.submit(body(task("one", seconds=4.0)), owner="local")
        view, _ = await service.submissions.submit(body(task("one"), interpreter=str(program)), owner="local")
        zygote = service.zygotes._running[str(program)].pid
        os.kill(zygote, signal.SIGKILL)
        broken.write_text("3")
        assert (await wait_for_state(service, first.id)).state == "done"
        view = await wait_for_state(service, view.id)
        assert view.state == "done", view.error
        assert "worker.crashed" not in await types_of(service, view.id)
    # Without the first, and without the spare that is spawned half a second after a worker.
    times = [float(t) for t in (tmp_path / "tried").read_text().split()][1:5]
    gaps = [b - a for a, b in pairwise(times)]
    assert len(gaps) == 3
    for gap, least in zip(gaps, (0.2, 0.4, 0.8), strict=True):
        assert gap >= least


# -- what looks like death ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["c", "re"])
async def test_user_code_that_keeps_the_gil_is_not_taken_for_dead(tmp_path: Path, how: str) -> None:
    """No heartbeat and no answer for much longer than every interval of the orchestrator."""
    short = {"heartbeat": 0.1, "lease_ttl": 0.4, "orphan_timeout": 0.8, "silence_grace": 0.1}
    async with orchestrator(tmp_path, **short) as service:
        tasks = [{**one("holds", HOLDS, how=how), "timeout": 60.0}, task("two")]
        view, _ = await service.submissions.submit(body(*tasks), owner="local")
        view = await wait_for_state(service, view.id, patience=60)
        assert view.state == "done", view.error
        types = await types_of(service, view.id)
        assert types.count("run.started") == 1
        assert "worker.crashed" not in types


async def test_a_suspended_machine_costs_nothing(tmp_path: Path) -> None:
    """Server and worker are stopped for longer than every timeout, the stage's too, and go on where they
    were."""
    short = {"heartbeat": 0.2, "lease_ttl": 0.8, "orphan_timeout": 1.0, "silence_grace": 0.2}
    server = Server(tmp_path, **short)
    first = {**one("one", STEPS), "timeout": 2.5, "retry": {"max_attempts": 1}}
    run = server.submit(body(first, {**task("two", seconds=0.3), "timeout": 2.0}))
    store = DiskStore(tmp_path / "store")
    while not any(e["type"] == "task.started" for e in store.events(run)):
        await asyncio.sleep(0.02)
    everybody = [server.process.pid, *processes_of(tmp_path)]
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(4.0)
    for pid in everybody:
        os.kill(pid, signal.SIGCONT)
    async with asyncio.timeout(10):
        while store.head(run)["state"] != "done":
            await asyncio.sleep(0.05)
    events = store.events(run)
    store.close()
    server.stop()
    types = [e["type"] for e in events]
    assert "worker.crashed" not in types
    assert types.count("run.started") == 1
    assert [e["data"]["attempt"] for e in events if e["type"] == "task.started"] == [1, 1]


async def test_a_stopped_worker_that_wakes_up_late_is_fenced_out(tmp_path: Path) -> None:
    """P2: its run was taken over meanwhile; it writes nothing, says nothing, and ends by itself."""
    server = Server(tmp_path)
    run = server.submit(body(task("one", seconds=0.8), task("two", seconds=0.2)))
    pid = await wait_for_holder(tmp_path, run)
    os.kill(pid, signal.SIGSTOP)
    server.kill()
    async with orchestrator(tmp_path, silence_grace=60) as service:
        lease = await asyncio.to_thread(service.store.claim, run, {"pid": 0, "host": "another machine"})
        await asyncio.to_thread(service.store.commit, lease, Commit(release=True))
        del service.dispatcher.active.supervisor.processes.by_run[run]
        await service.dispatcher.active.supervisor.attend(run)
        other = await wait_for_holder(tmp_path, run)
        assert other != pid
        os.kill(pid, signal.SIGCONT)
        await wait_for_exit([pid])
        view = await wait_for_state(service, run)
        assert view.state == "done"
        records = list(service.store.records(run))
        assert [r["fence"] for r in records] == sorted(r["fence"] for r in records)
        assert "worker.crashed" not in await types_of(service, run)


async def test_a_stopped_server_gives_way_and_comes_back_as_the_second_one(tmp_path: Path) -> None:
    """Two servers, one lease: who slept through his term does not work on when he wakes up."""
    server = Server(tmp_path, lease_ttl=1.0)
    async with orchestrator(tmp_path, lease_ttl=1.0) as second:
        view, _ = await second.submissions.submit(
            body(*(task(f"t{i}", seconds=0.5) for i in range(6))), owner="local"
        )
        await wait_for_task_state(second, view.id, "t0")
        server.process.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(6):
            while not second.meta()["orchestrator"]["holder"]:
                await asyncio.sleep(0.05)
        server.process.send_signal(signal.SIGCONT)
        # It serves on, and pokes the new holder, which is this process: not on its loop.
        other = await asyncio.to_thread(server.submit, body(task("one")))
        assert (await wait_for_state(second, other)).state == "done"
        assert (await wait_for_state(second, view.id)).state == "done"
        types = await types_of(second, view.id)
        assert types.count("run.started") == 1, "one worker, adopted"
        assert "worker.crashed" not in types
        assert second.meta()["orchestrator"]["holder"]
        await asyncio.to_thread(server.stop)


# -- what ends by itself ---------------------------------------------------------------------------


async def test_a_worker_without_an_orchestrator_stops_spending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN 5: nothing spends unseen. A stage in the middle of a hundred calls stops between two of them; the
    next server goes on behind the last one."""
    with ModelServer(latency=0.05) as model:
        monkeypatch.setenv("OPENAI_BASE_URL", model.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", model.key)
        server = Server(tmp_path, orphan_timeout=1.0)
        asks = one("asks", ASKS, times=100)
        asking = body(asks)
        asking["pipeline"]["llm"] = {"model": "openai:test"}
        run = server.submit(asking)
        pid = await wait_for_holder(tmp_path, run)
        await asyncio.to_thread(model.wait_for, 5, answered=True)
        server.kill()
        await wait_for_exit([pid])
        spent = len(model.requests)
        assert spent < 90
        await asyncio.sleep(0.3)
        assert len(model.requests) == spent
        async with orchestrator(tmp_path) as service:
            assert (await wait_for_state(service, run, patience=40)).state == "done"
        assert len(model.requests) == 100, "no question was asked twice"


async def test_a_graceful_stop_ends_no_worker_and_the_next_start_goes_on(tmp_path: Path) -> None:
    """Also with code that does not listen: it ends by itself, with the children that it started; and it is nobody's
    crash."""
    note = tmp_path / "child"
    server = Server(tmp_path, shutdown_timeout=0.5)
    blocked = server.submit(body(task("one", child=str(note)), {**task("two", block=6.0), "name": "two"}))
    plain = server.submit(body(*(task(f"t{i}", seconds=0.3) for i in range(4))))
    child = int(await wait_for_file(note))
    store = DiskStore(tmp_path / "store")
    while not any(e.get("task") == "two" for e in store.events(blocked)):
        await asyncio.sleep(0.02)
    worker = await wait_for_holder(tmp_path, blocked)
    await asyncio.to_thread(server.stop)
    assert is_alive(worker), "nobody waits for what takes long"
    await wait_for_exit([worker, child, *processes_of(tmp_path)])
    head = store.head(blocked)
    assert head["holder"] is None, "given back"
    assert [e["task"] for e in store.events(blocked) if e["type"] == "task.done"] == ["one", "two"]
    store.close()
    async with orchestrator(tmp_path) as service:
        for run in (blocked, plain):
            assert (await wait_for_state(service, run)).state == "done"
            assert "worker.crashed" not in await types_of(service, run)
    starts = [e["task"] for e in await _events(tmp_path, plain) if e["type"] == "task.started"]
    assert sorted(set(starts)) == ["t0", "t1", "t2", "t3"]
    done = [e["task"] for e in await _events(tmp_path, plain) if e["type"] == "task.done"]
    assert done == ["t0", "t1", "t2", "t3"], "each once"


async def _events(data_dir: Path, run: str) -> list[dict[str, Any]]:
    store = DiskStore(data_dir / "store")
    try:
        return await asyncio.to_thread(store.events, run)
    finally:
        store.close()


# -- hints that are lost -----------------------------------------------------------------------------


async def test_a_run_that_nobody_was_told_of_is_found(tmp_path: Path) -> None:
    """P1: a poke is a hint. Whatever is durable is worked on, by the next look at the latest."""
    async with orchestrator(tmp_path, lease_ttl=0.6) as service:
        asked = Submission(pipeline=None, seed=None)
        given = body(task("one"))
        new = new_run(asked, Pipeline.model_validate(given["pipeline"]), Seed(**given["seed"]), "local")
        await asyncio.to_thread(service.store.create_run, new)
        assert (await wait_for_state(service, new.run, patience=8)).state == "done"


async def test_a_lease_whose_work_cannot_begin_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at the moment of the takeover: nobody holds the store and does nothing with it."""
    tries = 0
    whole = link.Listener.start

    async def fails(self: link.Listener) -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            raise OSError(28, "No space left on device")
        await whole(self)

    monkeypatch.setattr(link.Listener, "start", fails)
    holder, follower = Orchestrator(settings(tmp_path)), Orchestrator(settings(tmp_path))
    first, second = await holder.start(), await follower.start()
    view, _ = await first.submissions.submit(
        body(*(task(f"t{i}", seconds=0.5) for i in range(4))), owner="local"
    )
    await wait_for_task_state(first, view.id, "t1")
    await holder.stop()
    assert (await wait_for_state(second, view.id)).state == "done"
    assert tries == 3
    await follower.stop()


async def test_time_that_a_follower_slept_does_not_lapse_the_lease() -> None:
    """A laptop that wakes up does not take its own store away from the server that wakes up beside it."""
    store = MemoryStore()

    async def off_loop(work: Any, *args: Any) -> Any:
        return work(*args)

    async def nothing() -> None:
        return None

    def lease(name: str) -> OrchestratorLease:
        return OrchestratorLease(store, 5.0, holder=name, to_thread=off_loop, on_taken=nothing, on_lost=nothing)

    holder, follower = lease("a"), lease("b")
    await holder._step()
    await follower._step()
    now = time.monotonic()
    follower._looked = now - 3600.0  # the last look was before an hour of sleep
    await follower._step()
    assert holder.is_held
    assert not follower.is_held
    follower._unchanged = 5.1  # many looks, and no renewal in all of them
    await follower._step()
    assert follower.is_held
