"""R1.2: what the orchestrator writes about runs without a worker, on a store in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import SpawnFailed, StaleFence, StoreUnusable
from po_jupyter.ipc.exit_status import ExitStatus
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.shard_record import ShardPlan
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.workers import worker_exits
from po_jupyter.orchestrator.workers.store_backoff import StoreBackoff
from po_jupyter.orchestrator.workers.worker_exits import WorkerExit, describe_exit
from po_jupyter.platform import processes
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import Commit, NewRun
from tests.support.stored_runs import RUN, store_run

GONE: processes.Identity = {**processes.myself(), "pid": 999_999_999, "created": 1.0}


@pytest.fixture
def store() -> MemoryStore:
    """A store with one run that a worker holds, which is gone."""
    store = MemoryStore()
    store_run(store)
    lease = store.claim(RUN, GONE)
    started = [
        draft("run.started", pid=GONE["pid"], fence=lease.fence),
        draft("task.started", "one", attempt=1),
    ]
    store.commit(lease, Commit(events=started, state="running"))
    return store


def crash(
    store: MemoryStore, tmp_path: Path, status: int | None = -9, *, reason: str | None = None, limit: int = 3
) -> int | None:
    return worker_exits.record_crash(
        store, RunProjections(store), RUN, WorkerExit(GONE, status, reason, tmp_path / "worker.log"), limit
    )


def types(store: MemoryStore) -> list[str]:
    return [event["type"] for event in store.events(RUN)]


def test_crashes_are_counted_with_their_log_until_the_run_is_dead(store: MemoryStore, tmp_path: Path) -> None:
    (tmp_path / "worker.log").write_text("Fatal Python error: " + "x" * 5000)
    assert [crash(store, tmp_path), crash(store, tmp_path)] == [1, 2]
    assert store.head(RUN)["state"] == "running" and store.head(RUN)["holder"] is None
    assert crash(store, tmp_path) == 3
    assert store.head(RUN)["state"] == "dead"
    error = store.events(RUN)[-1]["data"]["error"]
    assert error["message"] == "the worker of this run was killed by SIGKILL (out of memory?), 3 times in a row"
    assert len(error["details"]["log"]) == 2000
    assert error["details"]["tasks"] == [{"task": "one", "stage": None, "attempt": 1}]


def test_a_worker_that_was_overtaken_or_ended_for_a_cancel_did_not_crash(
    store: MemoryStore, tmp_path: Path
) -> None:
    assert crash(store, tmp_path, ExitStatus.OVERTAKEN) is None
    store.request(RUN, [draft("run.cancel_requested", by="me")])
    assert crash(store, tmp_path, reason="cancel") is None
    assert store.head(RUN)["state"] == "cancelled"
    assert crash(store, tmp_path) is None, "it has ended"
    assert "worker.crashed" not in types(store)


def test_an_adopted_worker_that_gave_the_run_back_did_not_crash(store: MemoryStore, tmp_path: Path) -> None:
    store.commit(store.claim(RUN, GONE), Commit(release=True))
    assert crash(store, tmp_path, None) is None
    assert crash(store, tmp_path, 1) == 1


def test_a_run_that_another_process_holds_is_left_to_it(store: MemoryStore, tmp_path: Path) -> None:
    store.claim(RUN, processes.myself())
    assert crash(store, tmp_path) is None


def test_a_run_that_needs_a_worker_gets_one_and_a_cancelled_one_is_ended(store: MemoryStore) -> None:
    assert worker_exits.settle(store, RunProjections(store), RUN)[0] == "pending"
    store.request(RUN, [draft("run.cancel_requested", by="me")])
    outcome, head = worker_exits.settle(store, RunProjections(store), RUN)
    assert (outcome, head["state"]) == ("ended", "cancelled")
    assert worker_exits.settle(store, RunProjections(store), RUN)[0] == "ended"


def test_a_run_that_can_have_no_worker_is_dead_once(store: MemoryStore) -> None:
    for _ in range(2):
        worker_exits.end_as_dead(store, RUN, SpawnFailed("no worker could be started"))
    assert store.head(RUN)["state"] == "dead"
    assert types(store).count("run.dead") == 1


def with_child(store: MemoryStore) -> str:
    """A child run of the run, with rows of a map."""
    child = "0123456789abcdef012346"
    store.create_run(
        NewRun(child, "", "p", "1.0.0", "s", 0, {}, [draft("run.created", name="s", tasks=[])], parent=RUN)
    )
    plan: ShardPlan = {"run": child, "shard": 1, "rows": "0-1"}
    store.request(RUN, [draft("shards.planned", "one", number=1, shards=[plan])])
    return child


def test_child_runs_of_a_run_that_dies_are_told_to_end(store: MemoryStore, tmp_path: Path) -> None:
    """Nobody else would end them, and they spend."""
    child = with_child(store)
    crash(store, tmp_path)
    assert store.head(child)["n"] == 1, "the next worker takes them up"
    crash(store, tmp_path, limit=2)
    assert store.head(RUN)["state"] == "dead"
    event = store.events(child)[-1]
    assert (event["type"], event["data"]["by"]) == ("run.cancel_requested", RUN)


def test_child_runs_of_a_run_that_can_have_no_worker_are_told_to_end(store: MemoryStore) -> None:
    child = with_child(store)
    worker_exits.end_as_dead(store, RUN, SpawnFailed("no worker could be started"))
    assert store.events(child)[-1]["type"] == "run.cancel_requested"


def test_the_wait_for_the_store_is_written_once_it_can_be(store: MemoryStore) -> None:
    backoff = StoreBackoff()
    backoff.failed(RUN, "the disk is full")
    wait = backoff.get(RUN)
    assert wait is not None
    worker_exits.record_store_wait(store, RUN, wait)
    event = store.events(RUN)[-1]
    assert (event["type"], event["data"]["reason"], event["data"]["tries"]) == (
        "run.held",
        "the disk is full",
        1,
    )


@pytest.mark.parametrize(
    ("status", "reason", "sentence"),
    [
        (3, None, "ended with status 3"),
        (-15, None, "was killed by SIGTERM"),
        (-9, None, "was killed by SIGKILL (out of memory?)"),
        (-99, None, "was killed by signal 99"),
        (None, None, "ended"),
        (-9, "silence", "was ended because it said nothing for longer than any of its stages may take"),
    ],
)
def test_an_end_is_told_in_words(status: int | None, reason: str | None, sentence: str) -> None:
    assert describe_exit(WorkerExit(GONE, status, reason, Path())) == sentence


def test_a_worker_that_dies_before_its_claim_crashed_where_its_server_holds_the_run(
    store: MemoryStore, tmp_path: Path
) -> None:
    """Otherwise it is started again at once, for ever."""
    for crashes in (1, 2):
        store.claim(RUN, {**processes.myself(), "node": "n1", "reserves": True})
        assert crash(store, tmp_path, 1) == crashes
        assert store.head(RUN)["holder"] is None


class FrozenStore(MemoryStore):
    """Another machine takes the run between the next read of its log and the claim."""

    takes = False

    def claim(self, run: str, *args: Any, **more: Any) -> Any:
        if self.takes:
            self.takes = False
            super().claim(run, {**GONE, "host": "elsewhere"})
        return super().claim(run, *args, **more)


def _losses_of(store: MemoryStore, tmp_path: Path) -> None:
    worker_exits.record_crash(
        store, RunProjections(store), RUN, WorkerExit(GONE, -9, None, tmp_path / "worker.log"), 3
    )


def _cancel(store: MemoryStore, tmp_path: Path) -> None:
    store.request(RUN, [draft("run.cancel_requested", by="me")])
    worker_exits.settle(store, RunProjections(store), RUN)


def _end_as_dead(store: MemoryStore, tmp_path: Path) -> None:
    worker_exits.end_as_dead(store, RUN, SpawnFailed("no worker could be started"))


@pytest.mark.parametrize("act", [_losses_of, _cancel, _end_as_dead])
def test_a_run_that_another_machine_takes_meanwhile_is_left_to_it(act: Any, tmp_path: Path) -> None:
    """P3: it would end a run that is at work there, and pay for its calls twice."""
    store = FrozenStore()
    store_run(store)
    store.claim(RUN, GONE)
    store.takes = True
    with pytest.raises(StaleFence):
        act(store, tmp_path)
    head = store.head(RUN)
    assert (head["fence"], head["state"]) == (2, "pending")
    assert head["holder"] is not None and head["holder"]["host"] == "elsewhere"


def test_a_run_of_another_machine_of_the_same_name_is_not_ended(store: MemoryStore, tmp_path: Path) -> None:
    """Its worker looks like one of ours that is gone."""
    views, fence = RunProjections(store), store.head(RUN)["fence"]
    end = WorkerExit(GONE, -9, None, tmp_path / "worker.log")
    with pytest.raises(StaleFence):
        worker_exits.record_crash(store, views, RUN, end, 3, is_elsewhere=lambda head: True)
    with pytest.raises(StaleFence):
        worker_exits.end_as_dead(store, RUN, SpawnFailed("no"), is_elsewhere=lambda head: True)
    store.request(RUN, [draft("run.cancel_requested", by="me")])
    with pytest.raises(StaleFence):
        worker_exits.settle(store, views, RUN, is_elsewhere=lambda head: True)
    assert store.head(RUN)["fence"] == fence


def test_the_claim_of_a_commit_that_fails_is_no_worker(store: MemoryStore, monkeypatch: Any) -> None:
    """Another server would end this one as the run's worker."""

    def fail(*args: object) -> None:
        raise StoreUnusable("the disk is full")

    monkeypatch.setattr(store, "commit", fail)
    with pytest.raises(StoreUnusable):
        worker_exits.end_as_dead(store, RUN, SpawnFailed("no"))
    holder = store.head(RUN)["holder"]
    assert holder is not None and holder.get("reserves")
