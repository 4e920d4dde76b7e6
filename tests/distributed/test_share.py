from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.distributed.directory import NodeDirectory
from po_jupyter.distributed.share import NodeShare, fair_order
from po_jupyter.model.run.definition import FORMAT, RunDefinition, RunOptions
from po_jupyter.orchestrator.workers.queue import RunQueues
from po_jupyter.platform import processes
from po_jupyter.store.disk.store import DiskStore
from po_jupyter.store.protocol import Head
from po_jupyter.testing.conformance.store import new_run


def head(
    run: str, owner: str = "ada", priority: int = 0, state: str = "pending", node: str | None = None
) -> Head:
    holder: Any = None if node is None else {**processes.myself(), "node": node}
    return {
        "run": run, "owner": owner, "pipeline": "p", "version": "", "name": "", "state": state,
        "created_at": run, "updated_at": run, "priority": priority, "fence": 0, "n": 1, "offset": 1, "holder": holder,
    }  # fmt: skip


def test_urgent_runs_are_first_then_owners_take_turns() -> None:
    heads = [head(f"a{i}") for i in range(3)] + [head("b1", "bob"), head("b2", "bob"), head("z", priority=5)]
    assert [h["run"] for h in fair_order(heads)] == ["z", "b1", "a0", "b2", "a1", "a2"]


def test_an_owner_with_runs_at_work_waits_for_one_without() -> None:
    heads = [head("w", state="running", node="n"), head("a1"), head("b1", "bob"), head("b2", "bob")]
    assert [h["run"] for h in fair_order(heads)] == ["b1", "a1", "b2"]


def test_only_runs_without_a_holder_wait_for_a_worker() -> None:
    heads = [head("g", state="waiting"), head("r", state="running"), head("h", node="n")]
    assert [h["run"] for h in fair_order(heads)] == ["r"]


class Busy:
    """A supervisor with so many workers, and runs in processes of many."""

    def __init__(self, busy: int = 0, shared: int = 0) -> None:
        self._busy, self._shared = busy, shared
        self.queue = RunQueues()
        self.starts = self

    def discard(self, run: str) -> None:
        pass

    def busy(self) -> int:
        return self._busy

    def busy_shared(self) -> int:
        return self._shared

    def has_run(self, run: str) -> bool:
        return False


@pytest.fixture
def store(tmp_path: Path) -> Any:
    store = DiskStore(tmp_path / "store", shards=1)
    yield store
    store.close()


def share(
    store: DiskStore, name: str = "n1", *, slots: int = 2, labels: tuple[str, ...] = (), busy: int = 0
) -> NodeShare:
    made = NodeShare(store, name, slots, labels, NodeDirectory(store, 5.0), asyncio.to_thread)
    made.supervisor = Busy(busy)  # type: ignore[assignment]
    made.warmed_up()
    return made


def created(store: DiskStore, run: str = "00a1", **options: Any) -> Head:
    definition = RunDefinition({"name": "p", "tasks": []}, {}, options=RunOptions(**options)).to_json()
    return store.create_run(new_run(run)._replace(definition=definition))[0]


async def test_one_of_two_nodes_gets_a_run(store: DiskStore) -> None:
    new = created(store)
    one, two = share(store), share(store, "n2")
    taken = [await one.claim(new), await two.claim(new)]
    assert taken[0] is not None
    assert taken[1] is None
    now = store.head(new["run"])
    assert one.is_own(now)
    assert not one.is_elsewhere(now)
    assert two.is_elsewhere(now)
    assert now["holder"] is not None
    assert now["holder"].get("reserves")
    assert [h["run"] for h in one.active()] == ["00a1"]
    assert two.active() == []


async def test_a_node_without_room_or_that_drains_takes_nothing(store: DiskStore) -> None:
    new = created(store)
    assert await share(store, busy=2).claim(new) is None
    assert await share(store, slots=0).claim(new) is None
    draining = share(store)
    draining.takes = False
    assert await draining.claim(new) is None
    assert store.head(new["run"])["fence"] == 0


async def test_runs_in_processes_of_many_take_no_slot_of_the_others(store: DiskStore) -> None:
    """They have a limit of their own: `PO_MAX_SHARED_RUNNING`."""
    new = created(store)
    node = share(store, slots=2)
    node.supervisor = Busy(busy=1, shared=499)  # type: ignore[assignment]
    assert node.free() == 1
    node.supervisor = Busy(busy=1, shared=500)  # type: ignore[assignment]
    assert await node.claim(new) is None
    node.supervisor = Busy(busy=1, shared=300)  # type: ignore[assignment]
    assert await node.claim(new) is not None


async def test_a_run_goes_to_a_node_that_has_its_labels(store: DiskStore) -> None:
    new = created(store, labels=("gpu",))
    left = []
    without = share(store)
    without.on_left = lambda head: left.append(head["run"])
    assert not await without.take(new)
    assert left == [new["run"]]
    assert not without.may_fit(new["run"])  # not looked at again and again
    assert await share(store, labels=("gpu", "big")).take(new)


async def test_a_run_goes_to_a_node_that_has_its_interpreter(store: DiskStore, tmp_path: Path) -> None:
    definition = RunDefinition({"name": "p", "tasks": []}, {}, interpreter=str(tmp_path / "python"))
    reason = share(store).misfit(definition)
    assert reason is not None
    assert "python" in reason


def test_a_run_goes_to_a_node_that_has_the_directory_of_its_modules(store: DiskStore, tmp_path: Path) -> None:
    """A worker cannot be there, and dies before it says why."""
    away = str(tmp_path / "project")
    code = RunDefinition({"name": "p", "tasks": [{"name": "a", "source": "def a(ctx): ..."}]}, {}, cwd=away)
    assert away in str(share(store).misfit(code))
    prompts = RunDefinition({"name": "p", "tasks": [{"name": "a", "prompt": "hello"}]}, {}, cwd=away)
    assert share(store).misfit(prompts) is None
    (tmp_path / "project").mkdir()
    assert share(store).misfit(code) is None


async def test_an_older_node_leaves_the_run_of_a_newer_version_alone(store: DiskStore) -> None:
    definition = {**RunDefinition({"name": "p", "tasks": []}, {}).to_json(), "format": FORMAT + 1}
    new = store.create_run(new_run("00a1")._replace(definition=definition))[0]
    older = share(store)
    assert not await older.take(new)
    assert "newer po_jupyter" in str(older.misfit(RunDefinition.from_json(definition)))
    assert store.head("00a1")["fence"] == 0


async def test_a_definition_that_cannot_be_read_here_is_left_to_others(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a version to come, while nodes are upgraded one after the other: the search for runs goes on."""
    head = created(store)
    node = share(store)
    monkeypatch.setattr(store, "definition", lambda run: {"pipeline": 7, "seed": None, "options": "more"})
    assert await node.claim(head) is None
    assert not node.may_fit(head["run"])
    assert store.head(head["run"])["holder"] is None


async def test_a_node_gives_back_what_has_no_worker_yet(store: DiskStore) -> None:
    new = created(store)
    node = share(store)
    assert await node.claim(new) is not None
    node.supervisor.queue = SimpleNamespace(positions=lambda limit: {new["run"]: 1})  # type: ignore[assignment]
    await node.give_back()
    now = store.head(new["run"])
    assert (now["holder"], now["state"]) == (None, "pending")


@pytest.mark.parametrize("case", ["drains", "no slots", "labels", "not warm yet"])
async def test_what_a_node_reserved_and_cannot_work_off_any_more_goes_to_others(
    store: DiskStore, case: str
) -> None:
    """A restart with other settings, or a drain, leaves what was reserved before; a start takes seconds."""
    new = created(store, labels=("gpu",))
    assert await share(store, labels=("gpu",)).claim(new) is not None
    later = share(store, slots=0 if case == "no slots" else 2, labels=() if case == "labels" else ("gpu",))
    later.takes = case in ("labels", "not warm yet")
    if case == "not warm yet":
        later.warm.clear()
    left = []
    later.on_left = lambda head: left.append(head["run"])
    assert not await later.take(store.head(new["run"]))
    assert store.head(new["run"])["holder"] is None
    assert left == [new["run"]]


async def test_the_worker_of_a_run_that_was_taken_expects_the_claim(store: DiskStore) -> None:
    """One that expected what was before it would end at once, and be started again."""
    new = created(store)
    taken = await share(store).take(new)
    assert taken is not None
    assert taken["fence"] == store.head(new["run"])["fence"] > new["fence"]


async def test_a_run_that_a_worker_of_the_node_had_stays_its_own(store: DiskStore) -> None:
    new = created(store, labels=("gpu",))
    store.claim(new["run"], {**processes.myself(), "node": "n1"})
    assert await share(store).take(store.head(new["run"]))


async def test_nothing_is_taken_while_the_store_is_copied(store: DiskStore) -> None:
    """What was copied already would be paid for in both stores."""
    new, own = created(store), created(store, run="00b2")
    node = share(store)
    store.claim(own["run"], node.me)
    own = store.head(own["run"])
    assert [head["run"] for head in node.active()] == [own["run"]]
    store.put("lease", "orchestrator", {"holder": "copy-17", "count": 1})
    assert await node.claim(new) is None
    assert not await node.take(new)
    assert not await node.take(own)
    assert node.active() == []
    store.put("lease", "orchestrator", {"holder": "leader", "count": 1})
    assert await node.take(own)
    assert await node.take(new)
    assert len(node.active()) == 2


def test_a_claim_of_the_server_itself_whose_commit_failed_is_its_own(store: DiskStore) -> None:
    """It says no node: nobody would look after the run while the server lives."""
    new = created(store)
    store.claim(new["run"], {**processes.myself(), "reserves": True})
    assert share(store).is_own(store.head(new["run"]))
    store.claim(new["run"], {**processes.myself(), "created": 1.0, "reserves": True})
    assert share(store).is_elsewhere(store.head(new["run"])), "another process that had the pid"


async def test_what_was_left_to_others_is_forgotten_in_time(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node without a label that thousands of runs want keeps none of them for ever."""
    moments = [0.0]
    monkeypatch.setattr("po_jupyter.distributed.share.time", SimpleNamespace(monotonic=lambda: moments[0]))
    node = share(store)
    for number in range(20):
        moments[0] = 10.0 * number
        assert await node.claim(created(store, f"00b{number:02}", labels=("gpu",))) is None
    assert len(node._unfit) <= 7


@pytest.mark.parametrize("is_warm", [False, True])
async def test_a_node_that_comes_back_leaves_runs_of_dead_workers_to_others_until_it_can_start_one(
    store: DiskStore, is_warm: bool
) -> None:
    """A restart within its term, under its old name: nobody else would go on with them while it gets ready."""
    new = created(store)
    store.claim(new["run"], {**processes.myself(), "created": 1.0, "node": "n1"})
    node = share(store)
    if not is_warm:
        node.warm.clear()
    assert (await node.take(store.head(new["run"])) is not None) is is_warm
    assert (store.head(new["run"])["holder"] is None) is not is_warm


async def test_a_node_takes_no_run_before_it_can_start_a_worker(store: DiskStore) -> None:
    new = created(store)
    node = share(store)
    node.warm.clear()
    assert await node.claim(new) is None
    told: list[None] = []
    node.on_room = lambda: told.append(None)
    node.warmed_up()
    assert told
    assert await node.claim(new) is not None


async def test_the_leader_looks_after_children_that_wait_for_somebody(store: DiskStore) -> None:
    """As after whole runs; lists of runs have none of them."""
    for run, parent in (("00a1", None), ("00b1", "00a1")):
        store.create_run(new_run(run, parent=parent))
        store.request(run, [], "waiting")
    node = share(store)
    node.leads = True
    assert sorted(head["run"] for head in node.active()) == ["00a1", "00b1"]
