"""Runs worked off together, by real processes: whom the end of one counts against, and what the others notice of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.orchestrator.workers import shared_workers
from po_jupyter.orchestrator.workers.processes import WorkerHandle, WorkerProcesses
from po_jupyter.orchestrator.workers.shared_workers import SharedWorkers
from po_jupyter.platform import processes
from po_jupyter.store.disk.store import DiskStore
from tests.support.orchestrator import orchestrator, wait_for_exit, wait_for_state
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration

sharing = partial(orchestrator, shared_worker=True)

# Prompts with one of these words make the worker do what no prompt can: end, stand still, or hold the interpreter.
TROUBLE = """
import ctypes, os, signal, time
from po_jupyter.llm.providers.fake import FakeProvider

chat = FakeProvider.chat

async def troubled(self, request, *, on_text=None):
    text = request.messages[-1].content
    if "poison" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    if "slow" in text and not os.path.exists({marker!r}):
        open({marker!r}, "w").close()
        until = time.process_time() + 1.3
        while time.process_time() < until:
            pass
    if "stuck" in text:
        ctypes.PyDLL(None).usleep(600_000_000)
    with open({calls!r}, "a") as file:
        file.write(f"{{os.getpid()}} {{text}}\\n")
    return await chat(self, request, on_text=on_text)

FakeProvider.chat = troubled
"""


@pytest.fixture
def troubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of the calls that workers made, as `PID PROMPT` lines."""
    calls = tmp_path / "calls"
    calls.touch()
    code = TROUBLE.format(calls=str(calls), marker=str(tmp_path / "was-slow"))
    (tmp_path / "sitecustomize.py").write_text(code)
    python = tmp_path / "python"
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    python.write_text(f'#!/bin/sh\nPYTHONPATH={path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    return calls


def prompts(*texts: str, model: str = "fake:echo", **more: Any) -> dict[str, Any]:
    tasks = [{"name": f"t{i}", "prompt": text, "retry": {"max_attempts": 1}} for i, text in enumerate(texts)]
    return {
        "pipeline": {"name": "p", "llm": {"model": model}, "tasks": tasks},
        "seed": {"name": "s", "data": {}},
        **more,
    }


def asked(calls: Path) -> list[tuple[str, str]]:
    """The pid and the prompt of each call, without those of the zygote's own warm-up."""
    lines = [line.split(" ", 1) for line in calls.read_text().splitlines()]
    return [(pid, text) for pid, text in lines if text != "x"]


def pids_of(calls: Path) -> dict[str, str]:
    """Which process made the call with a prompt."""
    return {text: pid for pid, text in asked(calls)}


async def submit(service: RunningOrchestrator, body: dict[str, Any], owner: str = "me") -> str:
    view, _ = await service.submissions.submit(body, owner=owner)
    return view.id


async def until(true: Any, patience: float = 20.0) -> None:
    async with asyncio.timeout(patience):
        while not true():
            await asyncio.sleep(0.02)


def shared_of(service: RunningOrchestrator) -> Any:
    return service.dispatcher.active.supervisor.shared


def at_work(service: RunningOrchestrator) -> Any:
    return service.dispatcher.active.supervisor.processes.by_run


async def events(service: RunningOrchestrator, run: str) -> list[dict[str, Any]]:
    return await service.runs.events(run, None, limit=1000)


async def crashes(service: RunningOrchestrator, run: str) -> list[bool]:
    """For each crash in the log of the run whether it counts."""
    found = [e for e in await events(service, run) if e["type"] == "worker.crashed"]
    return [e["data"].get("counted", True) for e in found]


async def test_runs_of_prompts_share_a_process_and_others_do_not(tmp_path: Path, troubled: Path) -> None:
    async with sharing(tmp_path / "data") as service:
        runs = [await submit(service, prompts(f"one {i}", "two")) for i in range(5)]
        code = {"name": "code", "source": "def ingestion(ctx):\n    return 1\n"}
        other = await submit(service, {**prompts(), "pipeline": {"name": "p", "tasks": [code]}})
        for run in [*runs, other]:
            assert (await wait_for_state(service, run)).state == "done"
        assert (await service.results.outputs(runs[0], None)) == {"t0": "echo: one 0", "t1": "echo: two"}
        logs = sorted(path.parent.name for path in (tmp_path / "data" / "runs").glob("*/worker.log"))
        assert logs == [other], "a log of its own has who has a process of its own"
    assert len(set(pids_of(troubled).values())) <= 2


async def test_it_can_be_switched_off(tmp_path: Path, troubled: Path) -> None:
    async with orchestrator(tmp_path / "data", shared_worker=False) as service:
        runs = [await submit(service, prompts(f"one {i}")) for i in range(3)]
        for run in runs:
            assert (await wait_for_state(service, run)).state == "done"
    assert len(set(pids_of(troubled).values())) == 3


@pytest.mark.timeout(110)
async def test_a_poison_run_among_many_harms_none(tmp_path: Path, troubled: Path) -> None:
    """The poison cap holds for exactly the poison; the others are not counted, and no answer is asked for again."""
    async with sharing(tmp_path / "data", max_crashes=2) as service:
        good = [await submit(service, prompts(f"good {i}", f"then {i}")) for i in range(50)]
        poison = await submit(service, prompts("poison"))
        good += [await submit(service, prompts(f"good {i}", f"then {i}")) for i in range(50, 100)]
        dead = await wait_for_state(service, poison, patience=60.0)
        assert dead.state == "dead" and dead.error is not None
        assert await crashes(service, poison) == [True, True]
        for run in good:
            assert (await wait_for_state(service, run, patience=60.0)).state == "done"
            assert not any(await crashes(service, run)), "it counts against nobody else"
    prompts_sent = [text for _, text in asked(troubled) if text != "poison"]
    assert len(set(prompts_sent)) == 200
    assert len(prompts_sent) <= 300, "a call in flight may be sent again, one that was answered may not"


@pytest.mark.timeout(60)
async def test_killed_with_many_runs_nothing_that_was_answered_is_asked_again(
    tmp_path: Path, troubled: Path
) -> None:
    """P1, P3: kill -9 of the process, again and again."""
    async with sharing(tmp_path / "data") as service:
        runs = [
            await submit(
                service, prompts(*(f"run {i} call {k}" for k in range(6)), model="fake:echo?latency=0.2")
            )
            for i in range(20)
        ]
        for _ in range(3):
            await until(lambda: any(w.channel for w in at_work(service).values() if w.process))
            await asyncio.sleep(0.4)
            for pid in {w.pid for w in at_work(service).values() if w.process is not None}:
                os.kill(pid, signal.SIGKILL)
        for run in runs:
            assert (await wait_for_state(service, run, patience=40.0)).state == "done"
        store = service.store
        answered: list[str] = []
        for run in runs:
            calls = [call for record in store.records(run) for call in record["calls"]]
            assert sum(call["kind"] == "response" for call in calls) == 6, "one answer for each call"
            answered += [call["key"] for call in calls if call["kind"] == "response"]
            assert sum(await crashes(service, run)) <= 1, "after one that counts it goes on alone"


@pytest.mark.timeout(60)
async def test_a_run_whose_step_was_long_goes_on_in_a_process_of_its_own(
    tmp_path: Path, troubled: Path
) -> None:
    async with sharing(tmp_path / "data") as service:
        other = await submit(service, prompts("other", model="fake:echo?latency=3"))
        await until(lambda: other in at_work(service))
        slow = await submit(service, prompts("slow", "after"))
        assert (await wait_for_state(service, slow)).state == "done"
        assert await crashes(service, slow) == []
        assert (await wait_for_state(service, other)).state == "done"
    pids = pids_of(troubled)
    assert pids["after"] != pids["other"]


@pytest.mark.timeout(60)
async def test_a_template_that_takes_minutes_holds_nobody_up_and_moves_while_it_is_rendered(
    tmp_path: Path, troubled: Path
) -> None:
    """Nobody's process is ended for it, so that no call of another run is sent again."""
    inner = "{% for b in range(9999) %}{% if a == -b - 1 %}x{% endif %}{% endfor %}"
    joined = f"{{% for a in range(9999) %}}{inner}{{% endfor %}}"
    async with sharing(tmp_path / "data") as service:
        other = await submit(service, prompts("other", "after", model="fake:echo?latency=2"))
        await until(lambda: other in at_work(service))
        slow = await submit(service, prompts(joined))
        async with asyncio.timeout(30):
            while slow not in at_work(service) or at_work(service)[slow].process is not None:
                await asyncio.sleep(0.05)
        assert (await wait_for_state(service, other)).state == "done"
        assert await crashes(service, slow) == await crashes(service, other) == []
        await service.control.cancel(slow, None)
        assert (await wait_for_state(service, slow)).state == "cancelled"
        assert await crashes(service, slow) == []


@pytest.mark.timeout(110)
async def test_a_run_that_lets_nobody_else_work_is_ended_and_it_alone_counts(
    tmp_path: Path, troubled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one that keeps the interpreter's lock, so that nothing in its process could notice."""
    monkeypatch.setattr(shared_workers, "_STUCK", 1.0)
    async with sharing(tmp_path / "data", max_crashes=1, silence_grace=2.0) as service:
        others = [await submit(service, prompts(f"other {i}", "after")) for i in range(10)]
        stuck = await submit(service, prompts("stuck"))
        view = await wait_for_state(service, stuck, patience=40.0)
        assert view.state == "dead" and view.error is not None
        assert "held up all others" in view.error["message"]
        for run in others:
            assert (await wait_for_state(service, run)).state == "done"
            assert not any(await crashes(service, run))


async def test_a_large_map_has_a_process_of_its_own(tmp_path: Path, troubled: Path) -> None:
    """One that is seen beforehand, and one whose rows come from an earlier task."""
    rows = {"name": "m", "prompt": "{{ item }}", "for_each": "{{ range(1200) | list }}", "max_concurrency": 200}
    async with sharing(tmp_path / "data") as service:
        small = await submit(service, prompts("small", "next", model="fake:echo?latency=1"))
        body = prompts("first")
        body["pipeline"]["tasks"].append(rows)
        large = await submit(service, body)
        assert (await wait_for_state(service, large, patience=60.0)).state == "done"
        assert (await wait_for_state(service, small)).state == "done"
    pids = pids_of(troubled)
    assert pids["1199"] != pids["first"]


async def test_a_stop_gives_every_run_back_and_the_next_server_goes_on(tmp_path: Path, troubled: Path) -> None:
    """P1: a drain works run by run; calls in flight are finished, and none is sent again."""
    async with sharing(tmp_path / "data", shutdown_timeout=10.0) as service:
        runs = [
            await submit(service, prompts(f"run {i}", f"then {i}", model="fake:echo?latency=0.5"))
            for i in range(10)
        ]
        await until(lambda: all(run in at_work(service) for run in runs))
        await asyncio.sleep(0.3)
        pids = {worker.pid for worker in at_work(service).values()}
    await wait_for_exit(list(pids))
    store = DiskStore(tmp_path / "data" / "store")
    assert {store.head(run)["holder"] for run in runs} == {None}
    store.close()
    async with sharing(tmp_path / "data") as service:
        for run in runs:
            assert (await wait_for_state(service, run)).state == "done"
            assert await crashes(service, run) == []
    sent = [text for _, text in asked(troubled)]
    assert sorted(sent) == sorted(set(sent)), "each once"


async def test_the_next_server_adopts_runs_that_go_on_together(tmp_path: Path, troubled: Path) -> None:
    """A stop that does not wait hands over: no run is taken from the process that works on it, and no call is sent
    again."""
    async with sharing(tmp_path / "data", shutdown_timeout=0.01) as service:
        runs = [await submit(service, prompts(f"run {i}", model="fake:echo?latency=5")) for i in range(20)]
        await until(lambda: len(asked(troubled)) == len(runs))
        # As after the end of its server: nobody told the process to give its runs back.
        shared_of(service).drain = lambda: None
        service.dispatcher.active.supervisor.processes.drain = list
    async with sharing(tmp_path / "data") as service:
        for run in runs:
            assert (await wait_for_state(service, run)).state == "done"
            assert await crashes(service, run) == []
        await until(lambda: not any(p.retiring for p in shared_of(service)._processes))
    sent = [text for _, text in asked(troubled)]
    assert sorted(sent) == sorted(set(sent)), "each once"


async def test_a_cancelled_run_leaves_and_the_others_stay(tmp_path: Path, troubled: Path) -> None:
    async with sharing(tmp_path / "data") as service:
        runs = [await submit(service, prompts(f"run {i}", model="fake:echo?latency=1")) for i in range(3)]
        await until(lambda: all(run in at_work(service) for run in runs))
        await service.control.cancel(runs[1], None)
        assert (await wait_for_state(service, runs[1])).state == "cancelled"
        for run in (runs[0], runs[2]):
            assert (await wait_for_state(service, run)).state == "done"
    assert len(set(pids_of(troubled).values())) == 1


async def test_a_process_that_did_much_is_renewed_without_a_pause(
    tmp_path: Path, troubled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_workers, "_RENEW_RUNS", 2)
    monkeypatch.setattr(shared_workers, "_LOOK", 0.1)
    monkeypatch.setattr(shared_workers, "_LEAVE", 0.5)
    async with sharing(tmp_path / "data") as service:
        slow = await submit(service, prompts("long one", "and on", model="fake:echo?latency=1"))
        first = await submit(service, prompts("first"))
        await until(lambda: slow in at_work(service))
        old = at_work(service)[slow].process
        await until(lambda: old.retiring)
        second = await submit(service, prompts("second"))
        for run in (first, second, slow):
            assert (await wait_for_state(service, run)).state == "done"
            assert await crashes(service, run) == []
        await until(lambda: old.ended.is_set())
    assert len(set(pids_of(troubled).values())) >= 2


async def test_somebodys_thousand_runs_do_not_keep_another_ones_waiting(tmp_path: Path, troubled: Path) -> None:
    async with sharing(tmp_path / "data", max_shared_running=1) as service:
        many = [await submit(service, prompts(f"many {i}"), owner="many") for i in range(10)]
        one = await submit(service, prompts("one"), owner="one")
        for run in [*many, one]:
            assert (await wait_for_state(service, run)).state == "done"
    assert [text for _, text in asked(troubled)].index("one") < 6


async def test_a_process_that_ends_before_it_is_given_its_first_run_keeps_it_from_nobody(
    tmp_path: Path,
) -> None:
    exits: list[tuple[str, int | None]] = []
    exited = asyncio.Event()

    async def on_exit(worker: WorkerHandle, status: int | None) -> None:
        exits.append((worker.run, status))
        exited.set()

    async def start(on_exit: Callable[[int, int | None], None]) -> processes.Identity:
        on_exit(os.getpid(), 1)
        return processes.myself()

    settings = Settings(data_dir=tmp_path)
    shared = SharedWorkers(settings, WorkerProcesses(settings, on_exit), start)
    await shared.take("00a1", 0, 60.0)
    async with asyncio.timeout(5):
        await exited.wait()
    assert exits == [("00a1", 0)]
    assert shared.alone == {"00a1"}


async def test_runs_of_one_shard_go_to_one_process_unless_that_has_many_more_than_another(
    tmp_path: Path,
) -> None:
    """Their commits share transactions there; fairness goes before that."""

    async def on_exit(worker: WorkerHandle, status: int | None) -> None:
        raise AssertionError("nothing ends")

    async def start(on_exit: Callable[[int, int | None], None]) -> processes.Identity:
        return processes.myself()

    settings = Settings(data_dir=tmp_path)
    shared = SharedWorkers(settings, WorkerProcesses(settings, on_exit), start)
    shared._processes = [await shared._start_one() for _ in range(2)]
    runs = [f"{i:04x}" for i in range(40)]
    taken = {run: (await shared.take(run, 0, 60.0)).process for run in runs}
    by_shard: dict[int, set[int]] = {}
    for run, process in taken.items():
        by_shard.setdefault(zlib.crc32(run.encode()) % settings.store_shards, set()).add(id(process))
    assert len(by_shard) == settings.store_shards and all(len(found) == 1 for found in by_shard.values())
    of_one = [run for i in range(1000) if zlib.crc32((run := f"a{i:04x}").encode()) % 2 == 0][:60]
    for run in of_one:
        await shared.take(run, 0, 60.0)
    counts = sorted(len(process.runs) for process in shared._processes)
    assert counts[1] - counts[0] <= 9
    await shared.close()


async def test_what_is_logged_of_a_run_stands_in_its_own_log(tmp_path: Path, troubled: Path) -> None:
    """`po logs` and the page of a run show the lines of that run, and of no other that shares its process."""
    async with sharing(tmp_path / "data") as service:
        failing, other, fine = [
            await submit(service, prompts(text, model=model))
            for text, model in (("a", "fake:none"), ("b", "fake:none"), ("c", "fake:echo"))
        ]
        for run in (failing, other, fine):
            await wait_for_state(service, run)
        shown = await service.results.logs(failing, None)
        (own,) = [log["text"] for log in shown if log["name"] == "worker.log"]
        assert failing in own and other not in own
        assert not (tmp_path / "data" / "runs" / fine / "worker.log").exists(), "nothing is to be said of it"
        assert await crashes(service, failing) == []


async def test_runs_see_the_environment_of_the_server_as_it_is_now(
    tmp_path: Path, troubled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another address of a model: a process that was started before it gets no more runs."""
    async with sharing(tmp_path / "data") as service:
        await wait_for_state(service, await submit(service, prompts("one")))
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        await wait_for_state(service, await submit(service, prompts("two")))
        await wait_for_state(service, await submit(service, prompts("three")))
        pids = pids_of(troubled)
        assert pids["one"] != pids["two"] == pids["three"]


async def test_maps_of_others_do_not_starve_a_chat(tmp_path: Path, troubled: Path) -> None:
    """Fairness on the loop: ten maps of a thousand rows are at work, and one question is answered between them."""
    rows = [{"name": "m", "for_each": "{{ seed.rows }}", "prompt": "row {{ item }}", "max_concurrency": 50}]
    many = {
        "pipeline": {"name": "map", "llm": {"model": "fake:echo"}, "tasks": rows},
        "seed": {"name": "s", "data": {"rows": list(range(1000))}},
    }
    async with sharing(tmp_path / "data") as service:
        maps = [await submit(service, many, owner="batch") for _ in range(10)]
        await until(lambda: len(asked(troubled)) > 500)
        chat = await submit(service, prompts("hello"), owner="chat")
        view = await wait_for_state(service, chat)
        assert view.state == "done"
        before = len(asked(troubled))
        states = [(await service.runs.get(run, None)).state for run in maps]
        assert states.count("done") == 0, f"the chat waited for {before} rows"
        for run in maps:
            assert (await wait_for_state(service, run)).state == "done"
