"""Claims: whose process is ended for a run, and whose never."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from unittest.mock import AsyncMock, MagicMock

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import StaleFence, StoreError
from po_jupyter.platform import processes
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.worker import run_worker
from po_jupyter.worker.open_calls import CallSlots
from po_jupyter.worker.run_tracing import RunTracing
from po_jupyter.worker.run_worker import ProcessParts, RunWorker, claim_run
from tests.support.stored_runs import RUN, store_run

pytestmark = pytest.mark.integration  # with a process


@pytest.fixture
def holder() -> Iterator[processes.Identity]:
    """The identity of a process that lives, a leader of its group as workers are."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    yield processes.identity_of(process.pid)
    process.kill()
    process.wait()


def held_by(holder: processes.Identity) -> MemoryStore:
    store = MemoryStore()
    store_run(store)
    store.claim(RUN, holder)
    return store


async def test_a_former_worker_of_this_run_alone_is_ended(holder: processes.Identity, tmp_path: Path) -> None:
    store = held_by(holder)
    parts = ProcessParts(Settings(data_dir=tmp_path), store, processes.myself(), CallSlots(), None)
    assert (await RunWorker(parts, cast("Any", Link()), 1)._claim()).fence == 2
    assert not processes.alive(holder)


def test_a_process_that_works_on_others_too_is_left_alone(holder: processes.Identity) -> None:
    """The fence keeps it from writing to this run."""
    store = held_by({**holder, "shared": True})
    assert claim_run(store, RUN, 1).fence == 2
    assert processes.alive(holder)
    assert store.head(RUN)["holder"] == processes.myself()


def test_a_run_that_somebody_took_meanwhile_is_not_claimed(holder: processes.Identity) -> None:
    store = held_by({**holder, "shared": True})
    with pytest.raises(StaleFence, match="taken by somebody else"):
        claim_run(store, RUN, 0)
    assert store.head(RUN)["fence"] == 1


class Link:
    """The link of a run, of which nothing is sent."""

    run = RUN


@pytest.mark.parametrize(("ends", "state"), [(StaleFence("x"), "overtaken"), (StoreError("x"), "store_failed")])
async def test_the_span_of_a_run_ends_however_it_leaves_its_worker(
    ends: StoreError, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that never ends is sent to nobody, and its tasks' spans have no parent. A shared worker goes on for days."""
    ended: list[str] = []

    async def fails(worker: RunWorker) -> None:
        raise ends

    monkeypatch.setattr(RunWorker, "_open", fails)
    monkeypatch.setattr(RunTracing, "end", lambda tracing, state: ended.append(state))
    parts = ProcessParts(Settings(data_dir=tmp_path), MemoryStore(), processes.myself(), CallSlots(), None)
    with pytest.raises(type(ends)):
        await RunWorker(parts, cast("Any", MagicMock(run=RUN, store_failed=AsyncMock())), 1).work_off()
    assert ended == [state]


@pytest.mark.parametrize("environ", [None, {"OPENAI_BASE_URL": "http://first"}])
async def test_a_task_that_sets_a_base_url_redirects_no_prompt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environ: dict[str, str] | None
) -> None:
    """Models are asked at the addresses with which the process, or one of many runs, began."""
    given: list[Any] = []
    real = run_worker.Providers
    monkeypatch.setattr(
        run_worker, "Providers", lambda environ, **more: given.append(environ) or real(environ, **more)
    )
    monkeypatch.setenv("OPENAI_BASE_URL", "http://first")
    parts = ProcessParts(
        Settings(data_dir=tmp_path), MemoryStore(), processes.myself(), CallSlots(), None, environ=environ
    )
    RunWorker(parts, cast("Any", Link()), None)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere")
    assert given[0]["OPENAI_BASE_URL"] == "http://first"


@pytest.mark.parametrize("kind", ["lane", "no lane"])
async def test_the_end_of_a_former_worker_is_waited_for_beside_the_writes_of_other_runs(
    kind: str, holder: processes.Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take seconds; the thread of a shard has the commits of many runs."""
    store = DiskStore(tmp_path / "store", shards=1)
    store_run(store)
    store.claim(RUN, holder)
    if kind == "no lane":
        monkeypatch.setattr(run_worker, "lane_of", lambda store, run: None)
    threads: list[str] = []
    real = processes.wait_gone

    def wait_gone(identity: processes.Identity, seconds: float) -> bool:
        threads.append(threading.current_thread().name)
        return real(identity, seconds)

    monkeypatch.setattr(processes, "wait_gone", wait_gone)
    parts = ProcessParts(Settings(data_dir=tmp_path), store, processes.myself(), CallSlots(), None)
    lease = await RunWorker(parts, cast("Any", Link()), 1)._claim()
    assert lease.fence == 2
    assert not processes.alive(holder)
    assert len(threads) == 1
    assert "po-store" not in threads[0]
    store.close()


async def test_a_former_worker_that_cannot_be_ended_keeps_nobody_from_the_run(
    holder: processes.Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fence keeps it from writing."""
    store = held_by(holder)
    ended: list[object] = []
    monkeypatch.setattr(processes, "end_group", ended.append)
    monkeypatch.setattr(processes, "wait_gone", lambda *_: False)
    parts = ProcessParts(Settings(data_dir=tmp_path), store, processes.myself(), CallSlots(), None)
    assert (await RunWorker(parts, cast("Any", Link()), 1)._claim()).fence == 2
    assert len(ended) == 1
