"""R1.2, R3.3: workers die, servers die, and the runs go on. Everything here is a real process."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.orchestrator.dispatch.recovery import sweep
from po_jupyter.orchestrator.service import Orchestrator, RunningOrchestrator
from po_jupyter.orchestrator.submission import request as submission
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import Commit, NewRun
from tests.support.orchestrator import (
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

pytestmark = pytest.mark.integration


def five(seconds: float = 0.4) -> dict[str, Any]:
    """Five tasks, each long enough to be hit."""
    return body(*(task(f"t{i}", seconds=seconds) for i in range(5)))


async def starts_of(service: RunningOrchestrator, run: str) -> list[str]:
    return [e["task"] for e in await service.runs.events(run, None) if e["type"] == "task.started"]


async def types_of(service: RunningOrchestrator, run: str) -> list[str]:
    return [e["type"] for e in await service.runs.events(run, None)]


async def worker_pid(service: RunningOrchestrator, run: str) -> int:
    events = [e for e in await service.runs.events(run, None) if e["type"] == "run.started"]
    return int(events[-1]["data"]["pid"])


async def test_a_killed_worker_is_replaced_and_goes_on_where_it_was(tmp_path: Path) -> None:
    """Done-when 4, the worker's half: kill -9 costs the task in flight, nothing else."""
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(five(), owner="local")
        await wait_for_task_state(service, view.id, "t2")
        os.kill(await worker_pid(service, view.id), signal.SIGKILL)
        view = await wait_for_state(service, view.id)
        assert view.state == "done"
        starts = await starts_of(service, view.id)
        assert [starts.count(f"t{i}") for i in range(5)] == [1, 1, 2, 1, 1]
        crash = next(e for e in await service.runs.events(view.id, None) if e["type"] == "worker.crashed")
        assert "SIGKILL" in crash["data"]["error"]["message"]
        assert next(t for t in view.tasks if t.name == "t2").attempt == 1, "a crash keeps the attempt (P3)"


async def test_a_crash_loop_ends_as_dead_and_resumes(tmp_path: Path) -> None:
    """R1.2: only so many crashes in a row; then the run is kept, dead, until it is resumed."""
    async with orchestrator(tmp_path, max_crashes=3) as service:
        view, _ = await service.submissions.submit(body(task("one"), task("two", crash=True)), owner="local")
        view = await wait_for_state(service, view.id)
        assert view.state == "dead"
        assert view.error is not None
        assert view.error["code"] == "worker_crashed"
        assert "3 times" in view.error["message"]
        assert (await types_of(service, view.id)).count("worker.crashed") == 3
        assert [t.state for t in view.tasks] == ["done", "failed"]
        assert (await service.control.resume(view.id, None)).state in ("pending", "running")
        assert (await wait_for_state(service, view.id)).state == "dead"
        assert (await starts_of(service, view.id)).count("one") == 1


async def test_a_restarted_server_adopts_live_workers(tmp_path: Path) -> None:
    """DESIGN 5: a server's death is no crash; its workers go on, and the next server has them."""
    server = Server(tmp_path)
    run = server.submit(five(0.6))
    pid = await wait_for_holder(tmp_path, run)
    server.kill()
    assert is_alive(pid)
    async with orchestrator(tmp_path) as service:
        assert service.live_runs() == 1
        view = await wait_for_state(service, run)
        assert view.state == "done"
        types = await types_of(service, run)
        assert types.count("run.started") == 1, "the same worker, all the time"
        assert "worker.crashed" not in types
        await wait_for_exit([pid])


async def test_an_adopted_worker_can_be_cancelled(tmp_path: Path) -> None:
    """Adoption is whole: the new server's hints arrive."""
    server = Server(tmp_path)
    run = server.submit(body(task("one"), task("two", seconds=60)))
    server.kill()
    async with orchestrator(tmp_path) as service:
        await wait_for_task_state(service, run, "two")
        await service.control.cancel(run, None)
        assert (await wait_for_state(service, run, patience=8)).state == "cancelled"


async def test_server_and_worker_killed_together_the_run_resumes(tmp_path: Path) -> None:
    """Done-when 4, the server's half: a new server finds the run and goes on; nobody crashed."""
    server = Server(tmp_path)
    run = server.submit(five())
    store = DiskStore(tmp_path / "store")
    while not any(e["type"] == "task.done" for e in store.events(run)):
        await asyncio.sleep(0.02)
    store.close()
    server.process.send_signal(signal.SIGSTOP)  # so that it cannot respawn what we kill
    for pid in processes_of(tmp_path):
        os.kill(pid, signal.SIGKILL)
    server.kill()
    async with orchestrator(tmp_path) as service:
        assert (await wait_for_state(service, run)).state == "done"
        assert "worker.crashed" not in await types_of(service, run)
        assert (await starts_of(service, run)).count("t0") == 1


async def test_a_run_submitted_just_before_the_server_died_is_not_lost(tmp_path: Path) -> None:
    """P1: 201 means durable."""
    server = Server(tmp_path, max_running=1)
    runs = [server.submit(body(task("one", seconds=0.2))) for _ in range(5)]
    server.kill()
    async with orchestrator(tmp_path) as service:
        for run in runs:
            assert (await wait_for_state(service, run)).state == "done"


async def test_a_worker_without_an_orchestrator_drains_and_exits(tmp_path: Path) -> None:
    """DESIGN 5: nothing spends unseen; what it had is kept, and the next server goes on."""
    server = Server(tmp_path, orphan_timeout=1.0)
    run = server.submit(body(task("one", seconds=0.1), task("two", seconds=3), task("three")))
    pid = await wait_for_holder(tmp_path, run)
    server.kill()
    await wait_for_exit([pid], patience=8)
    store = DiskStore(tmp_path / "store")
    assert store.head(run)["holder"] is None, "it gave the run back"
    assert store.head(run)["state"] == "running"
    store.close()
    async with orchestrator(tmp_path) as service:
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert "worker.crashed" not in await types_of(service, run)


async def test_two_servers_share_one_store_and_the_second_takes_over(tmp_path: Path) -> None:
    """DESIGN 5: one holds the lease, the other serves the same API and takes over when it dies."""
    server = Server(tmp_path)
    async with orchestrator(tmp_path) as second:
        assert second.meta()["orchestrator"] == {**second.meta()["orchestrator"], "holder": False}
        assert second.meta()["orchestrator"]["pid"] == server.process.pid
        view, _ = await second.submissions.submit(five(0.3), owner="local")
        await wait_for_task_state(second, view.id, "t1")
        assert await worker_pid(second, view.id) not in (server.process.pid, os.getpid())
        cancelled, _ = await second.submissions.submit(body(task("one", seconds=60)), owner="local")
        await wait_for_task_state(second, cancelled.id, "one")
        assert second.live_runs() >= 0
        await second.control.cancel(cancelled.id, None)
        assert (await wait_for_state(second, cancelled.id)).state == "cancelled"
        server.kill()
        async with asyncio.timeout(3):
            while not second.meta()["orchestrator"]["holder"]:
                await asyncio.sleep(0.05)
        assert (await wait_for_state(second, view.id)).state == "done"
        assert "worker.crashed" not in await types_of(second, view.id)


async def test_the_server_that_does_not_hold_the_store_knows_its_queue(tmp_path: Path) -> None:
    """B14: load and queue positions are the holder's, whichever server is asked; the store's when it is silent."""
    server = Server(tmp_path, max_running=1, lease_ttl=60.0)
    async with orchestrator(tmp_path, max_running=1, lease_ttl=60.0) as other:

        async def load_is(running: int, queued: int) -> None:
            async with asyncio.timeout(10):
                while other.meta()["runs"] != {"running": running, "queued": queued}:
                    await asyncio.sleep(0.05)

        assert not other.meta()["orchestrator"]["holder"]
        runs = [
            (await other.submissions.submit(body(task("one", seconds=60)), owner="a"))[0].id for _ in range(3)
        ]
        await wait_for_task_state(other, runs[0], "one")
        assert {v.id: v.position for v in (await other.runs.page("a"))[0]} == {
            runs[0]: None,
            runs[1]: 1,
            runs[2]: 2,
        }
        last, _ = await other.submissions.submit(body(task("one"), priority=9), owner="a")
        assert last.position == 1
        assert (await other.runs.get(runs[1], "a")).position == 2
        await load_is(1, 3)
        for run in (last.id, *runs[1:]):
            await other.control.cancel(run, "a")
        await load_is(1, 0)
        os.kill(server.process.pid, signal.SIGSTOP)  # its lease goes on, and it answers nobody
        try:
            new = new_run_of(body(task("one")))
            await asyncio.to_thread(other.store.create_run, new)
            await load_is(1, 1)
            assert (await other.runs.get(new.run, None)).position == 1
        finally:
            os.kill(server.process.pid, signal.SIGCONT)
        await other.control.cancel(new.run, None)
        await other.control.cancel(runs[0], "a")
        assert (await wait_for_state(other, runs[0])).state == "cancelled"
    server.kill()


def new_run_of(asked: dict[str, Any]) -> NewRun:
    """A run that is in the store and of which nobody was told."""
    given = submission.parse_submission(asked)
    pipeline, seed = submission.check_submission(given, lambda name: None, code_allowed=True)
    return submission.new_run(given, pipeline, seed, "a")


async def test_a_graceful_stop_hands_over_at_once(tmp_path: Path) -> None:
    """The lease is given back: nobody waits for it to lapse."""
    holder, follower = Orchestrator(settings(tmp_path)), Orchestrator(settings(tmp_path))
    first, second = await holder.start(), await follower.start()
    view, _ = await first.submissions.submit(five(0.3), owner="local")
    await wait_for_task_state(first, view.id, "t1")
    await holder.stop()
    assert (await wait_for_state(second, view.id)).state == "done"
    await follower.stop()
    assert not processes_of(tmp_path)


async def test_a_dead_zygote_takes_no_worker_along(tmp_path: Path) -> None:
    """A worker is only forked from it; the next run gets a new one. The same for one that waits to be a worker."""
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(five(0.6), owner="local")
        await wait_for_task_state(service, view.id, "t1")
        async with asyncio.timeout(10):
            while not service.zygotes.pids():
                await asyncio.sleep(0.02)
        (zygote,) = service.zygotes.pids()
        os.kill(zygote, signal.SIGKILL)
        other, _ = await service.submissions.submit(body(task("one")), owner="local")
        assert (await wait_for_state(service, other.id)).state == "done"
        assert (await wait_for_state(service, view.id)).state == "done"
        assert "worker.crashed" not in await types_of(service, view.id)
        assert zygote not in service.zygotes.pids()


async def test_a_worker_that_hangs_is_ended_and_fenced(tmp_path: Path) -> None:
    """A stopped worker is not dead until it was silent for longer than its stages may take; then it is ended
    before anybody else goes on, and whatever it still holds is stale."""
    async with orchestrator(tmp_path, silence_grace=0.3) as service:
        slow = {**task("one", seconds=0.8), "timeout": 1.0}
        view, _ = await service.submissions.submit(body(slow, task("two") | {"timeout": 1.0}), owner="local")
        await wait_for_task_state(service, view.id, "one")
        pid = await worker_pid(service, view.id)
        os.kill(pid, signal.SIGSTOP)
        view = await wait_for_state(service, view.id)
        assert view.state == "done"
        assert not is_alive(pid)
        crash = next(e for e in await service.runs.events(view.id, None) if e["type"] == "worker.crashed")
        assert "said nothing" in crash["data"]["error"]["message"]


async def test_user_code_that_holds_the_worker_is_not_taken_for_dead(tmp_path: Path) -> None:
    """Blocking for many heartbeats is fine as long as the stage's timeout is not over."""
    async with orchestrator(tmp_path, heartbeat=0.1, lease_ttl=0.5) as service:
        view, _ = await service.submissions.submit(body(task("one", block=2.0)), owner="local")
        view = await wait_for_state(service, view.id)
        assert view.state == "done"
        assert "worker.crashed" not in await types_of(service, view.id)


async def test_a_worker_that_was_overtaken_writes_nothing(tmp_path: Path) -> None:
    """P2: a claim by somebody else fences the worker out, and the supervisor does not count that as a crash."""
    async with orchestrator(tmp_path) as service:
        view, _ = await service.submissions.submit(five(0.3), owner="local")
        await wait_for_task_state(service, view.id, "t1")
        lease = await asyncio.to_thread(service.store.claim, view.id, {"pid": 0, "host": "elsewhere"})
        await asyncio.to_thread(service.store.commit, lease, Commit(release=True))
        assert (await wait_for_state(service, view.id)).state == "done"
        assert "worker.crashed" not in await types_of(service, view.id)
        starts = await starts_of(service, view.id)
        assert starts.count("t0") == 1


async def test_what_user_code_left_running_ends_with_its_worker(tmp_path: Path) -> None:
    """No orphan: a crash takes the children of the worker with it."""
    note = tmp_path / "child"
    async with orchestrator(tmp_path, max_crashes=1) as service:
        view, _ = await service.submissions.submit(
            body(task("one", child=str(note), crash=True)), owner="local"
        )
        assert (await wait_for_state(service, view.id)).state == "dead"
        await wait_for_exit([int(await wait_for_file(note))])


class Listed:
    """A supervisor that had `lost` after the sweep; `ended` has ended since it was listed."""

    def __init__(self) -> None:
        self.attended: list[str] = []
        self.both = asyncio.Event()

    def has_run(self, run: str) -> bool:
        return run == "lost" and run in self.attended

    async def attend(self, run: str) -> None:
        self.attended.append(run)
        if len(self.attended) == 2:
            self.both.set()


async def test_a_run_that_ends_while_runs_are_listed_is_no_lost_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Hundreds of short runs end meanwhile: a warning for each would hide the one that is meant."""
    supervisor: Any = Listed()
    heads: Any = [{"run": run, "state": "running", "n": 3} for run in ("ended", "lost")]
    sweeping = asyncio.create_task(sweep(lambda: heads, supervisor, asyncio.to_thread, 0.01))
    await supervisor.both.wait()
    await asyncio.sleep(0)
    sweeping.cancel()
    assert supervisor.attended[:2] == ["ended", "lost"]
    warned = capsys.readouterr().out
    assert "lost" in warned and "run=ended" not in warned
