"""Several machines over one PostgreSQL, without a broker: the store is the truth, NOTIFY a hint, a claim the lock."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.distributed.dispatcher import NodeDispatcher
from po_jupyter.errors import NotFound
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.orchestrator.workers.processes import WorkerHandle
from po_jupyter.testing.model_server import ModelServer
from tests.support.nodes import TTL, WorkerNode, api_node
from tests.support.orchestrator import wait_for_state, wait_for_task_state

pytestmark = pytest.mark.integration


def body(tasks: int = 1, **more: Any) -> dict[str, Any]:
    """A run of prompts, one after the other."""
    chain = [
        {"name": f"t{i}", "prompt": f"question {i}", **({"needs": [f"t{i - 1}"]} if i else {})}
        for i in range(tasks)
    ]
    llm = {"model": "openai:gpt-4o-mini", "max_tokens": 50}
    return {"pipeline": {"name": "p", "llm": llm, "tasks": chain}, "seed": {"name": "s", "data": {}}, **more}


@contextmanager
def workers(tmp_path: Path, place: str, *names: str, **more: Any) -> Iterator[list[WorkerNode]]:
    """Nodes that are ready, ended at the end."""
    nodes = [WorkerNode(tmp_path / name, place, **more) for name in names]
    try:
        yield [node.ready() for node in nodes]
    finally:
        for node in nodes:
            node.kill()


async def submitted(api: RunningOrchestrator, tasks: int = 1, **more: Any) -> str:
    return (await api.submissions.submit(body(tasks, **more), owner="local"))[0].id


async def holder_of(api: RunningOrchestrator, run: str) -> str:
    """The node whose worker has the run, once one has."""
    while True:
        holder = (await asyncio.to_thread(api.store.head, run))["holder"]
        if holder is not None and not holder.get("reserves"):
            return str(holder["node"])
        await asyncio.sleep(0.02)


def seconds_between(api: RunningOrchestrator, run: str, first: str, last: str) -> float:
    """Between two events of a run."""
    at = {event["type"]: datetime.fromisoformat(event["at"]) for event in api.store.events(run)}
    return (at[last] - at[first]).total_seconds()


def of(nodes: Sequence[WorkerNode], name: str) -> tuple[WorkerNode, WorkerNode]:
    """That node, and the other one."""
    one, other = nodes
    return (one, other) if one.name == name else (other, one)


@pytest.mark.slow
async def test_a_run_is_worked_off_on_another_node(tmp_path: Path, place: str, model: ModelServer) -> None:
    with workers(tmp_path, place, "worker") as (worker,):
        async with api_node(tmp_path / "api", place) as api:
            run = await submitted(api, 3)
            view = await wait_for_state(api, run)
            assert view.state == "done", (view.error, worker.log())
            assert len(model.requests) == 3
            assert (worker.data_dir / "runs" / run).exists()
            assert not (tmp_path / "api" / "runs" / run / "worker.log").exists()
        assert worker.stop() == 0


async def test_two_api_nodes_reach_a_worker_at_once(tmp_path: Path, place: str, model: ModelServer) -> None:
    """A stream, a cancel, a decision and a resume go through any node."""
    with workers(tmp_path, place, "worker"):
        async with api_node(tmp_path / "one", place) as one, api_node(tmp_path / "two", place) as two:
            model.hold()
            run = await submitted(one)
            await wait_for_task_state(two, run, "t0")
            model.wait_for(1)
            async with two.changes.subscribe(run) as notes:
                await two.control.cancel(run, None)
                while (await one.runs.get(run, None)).state != "cancelled":
                    assert await notes.get(10) is not None
            assert seconds_between(one, run, "run.cancel_requested", "run.cancelled") < 0.2
            model.release()

            await two.control.resume(run, None)
            assert (await wait_for_state(one, run)).state == "done"

            gated = body(2)
            gated["pipeline"]["tasks"][0]["gate"] = "Is it good?"
            run = (await two.submissions.submit(gated, owner="local"))[0].id
            await wait_for_state(one, run, ["waiting"])
            await one.control.gate(run, None, "approve")
            assert (await wait_for_state(two, run)).state == "done"


async def test_another_node_goes_on_when_one_is_killed(tmp_path: Path, place: str, model: ModelServer) -> None:
    with workers(tmp_path, place, "a", "b") as nodes:
        async with api_node(tmp_path / "api", place) as api:
            model.latency = 0.3
            run = await submitted(api, 12)
            victim, heir = of(nodes, await holder_of(api, run))
            model.wait_for(3)
            victim.kill()
            killed = time.monotonic()
            while await holder_of(api, run) != heir.name:
                await asyncio.sleep(0.05)
            assert time.monotonic() - killed < TTL + 2
            view = await wait_for_state(api, run, patience=30)
            assert view.state == "done", (view.error, heir.log())
            assert model.paid_twice() == []
            assert len(model.requests) <= 13  # the one that was in flight
            assert view.usage is not None


@pytest.mark.slow
async def test_a_node_that_stood_still_is_fenced(tmp_path: Path, place: str, model: ModelServer) -> None:
    with workers(tmp_path, place, "a", "b") as nodes:
        async with api_node(tmp_path / "api", place) as api:
            model.latency = 0.3
            run = await submitted(api, 12)
            frozen, heir = of(nodes, await holder_of(api, run))
            model.wait_for(3)
            frozen.signal(signal.SIGSTOP)
            while await holder_of(api, run) != heir.name:
                await asyncio.sleep(0.05)
            model.wait_for(6)
            frozen.signal(signal.SIGCONT)
            view = await wait_for_state(api, run, patience=30)
            assert view.state == "done", (view.error, heir.log())
            assert len(model.requests) <= 14  # one in flight when it stopped, one when it went on
            # It is a node again, and works.
            heir.kill()
            run = await submitted(api, 1)
            assert (await wait_for_state(api, run, patience=30)).state == "done", frozen.log()


@pytest.mark.slow
async def test_a_drained_node_gives_its_runs_to_others(tmp_path: Path, place: str, model: ModelServer) -> None:
    with workers(tmp_path, place, "a", "b") as nodes:
        async with api_node(tmp_path / "api", place) as api:
            model.latency = 0.3
            run = await submitted(api, 8)
            leaving, heir = of(nodes, await holder_of(api, run))
            model.wait_for(2)
            assert leaving.stop() == 0
            view = await wait_for_state(api, run, patience=30)
            assert view.state == "done", (view.error, heir.log())
            assert await asyncio.to_thread(lambda: model.duplicates()) == {}
            assert len(model.requests) == 8


@pytest.mark.slow
async def test_a_node_is_drained_by_name(tmp_path: Path, place: str, model: ModelServer) -> None:
    with workers(tmp_path, place, "a", "b") as nodes:
        async with api_node(tmp_path / "api", place) as api:
            model.latency = 0.3
            run = await submitted(api, 8)
            leaving, heir = of(nodes, await holder_of(api, run))
            model.wait_for(2)
            await api.workers.drain(leaving.name)
            while await holder_of(api, run) != heir.name:
                await asyncio.sleep(0.05)
            assert (await wait_for_state(api, run, patience=30)).state == "done"
            assert len(model.requests) == 8
            async with asyncio.timeout(10):
                while (states := await node_states(api))[leaving.name] != "drains":
                    await asyncio.sleep(0.1)
            assert states == {"api": "serves", leaving.name: "drains", heir.name: "works"}
            with pytest.raises(NotFound, match="no node 'nobody'"):
                await api.workers.drain("nobody")


async def node_states(api: RunningOrchestrator) -> dict[str, str]:
    return {node["name"]: node["state"] for node in (await api.workers.report())["nodes"]}


@pytest.mark.slow
async def test_runs_go_to_nodes_that_have_what_they_need(
    tmp_path: Path, place: str, model: ModelServer
) -> None:
    with (
        workers(tmp_path, place, "plain"),
        workers(tmp_path, place, "strong", PO_NODE_LABELS="gpu") as (strong,),
    ):
        async with api_node(tmp_path / "api", place) as api:
            wanted = [await submitted(api, options={"labels": ["gpu"]}) for _ in range(3)]
            for run in wanted:
                assert (await wait_for_state(api, run, patience=30)).state == "done"
                assert (strong.data_dir / "runs" / run).exists()
            report = await api.workers.report()
            assert report["queue"]["queued"] == 0
            assert {node["name"]: node["labels"] for node in report["nodes"]}["strong"] == ["gpu"]
            unmet = await submitted(api, options={"labels": ["fpga"]})
            await asyncio.sleep(1)
            assert (await api.runs.get(unmet, None)).state == "pending"


@pytest.mark.slow
async def test_rate_limits_hold_for_all_nodes_together(tmp_path: Path, place: str, model: ModelServer) -> None:
    """Ten requests in two seconds, of two nodes; what the second one waits for is that the first one's use is over."""
    limits = {"PO_RATE_LIMITS": '{"openai": {"requests": 10}}', "PO_RATE_WINDOW": "2"}
    tasks = [
        {
            "name": "rows",
            "for_each": "{{ seed.rows }}",
            "prompt": "{{ seed.name }} {{ item }}",
            "max_concurrency": 10,
        }
    ]
    llm = {"model": "openai:gpt-4o-mini", "max_tokens": 5}
    with workers(tmp_path, place, "a", "b", slots=1, **limits):
        async with api_node(tmp_path / "api", place) as api:
            runs = []
            for name in ("one", "two"):
                seed = {"name": name, "data": {"rows": list(range(40)), "name": name}}
                submission = {"pipeline": {"name": "p", "llm": llm, "tasks": tasks}, "seed": seed}
                runs.append((await api.submissions.submit(submission, owner="local"))[0].id)
            nodes = {await holder_of(api, run) for run in runs}
            assert nodes == {"a", "b"}
            for run in runs:
                assert (await wait_for_state(api, run, patience=90)).state == "done"
            moments = sorted(request.at for request in model.requests)
            assert len(moments) == 80
            # A request is counted when it is let go, and arrives a little later: the 11th after it not in 1.5 s.
            assert min(later - first for first, later in zip(moments, moments[10:], strict=False)) > 1.5


async def test_child_runs_of_a_map_are_worked_off_on_several_nodes(
    tmp_path: Path, place: str, model: ModelServer
) -> None:
    """Any node takes each of them, and the run that waits for them takes no place of a node."""
    task = {
        "name": "m", "for_each": "{{ seed.rows }}", "prompt": "row {{ item }}", "shards": 2, "max_concurrency": 2,
    }  # fmt: skip
    wanted = body()
    wanted["pipeline"]["tasks"] = [task]
    wanted["seed"]["data"] = {"rows": list(range(8))}
    # In processes of their own: of shared runs a node with one slot has room for many.
    with workers(tmp_path, place, "one", "two", slots=1, PO_SHARED_WORKER="0"):
        async with api_node(tmp_path / "api", place) as api:
            model.hold()
            run = (await api.submissions.submit(wanted, owner="local"))[0].id
            model.wait_for(4)
            children = api.projections.state(await asyncio.to_thread(api.store.head, run)).child_runs
            assert {await holder_of(api, child) for child in children} == {"one", "two"}
            model.release()
            view = await wait_for_state(api, run)
            assert view.state == "done", view.error
            assert len(model.requests) == view.usage.calls == 8
            rows = (await api.results.outputs(run, "local"))["m"]
            assert [(row["index"], row["ok"]) for row in rows] == [(i, True) for i in range(8)]


async def test_a_pipeline_that_a_task_runs_is_worked_off_wherever_there_is_room(
    tmp_path: Path, place: str, model: ModelServer
) -> None:
    """Its gate, its failure and its bill go through from there."""
    llm = {"model": "openai:gpt-4o-mini", "max_tokens": 50}
    inner = {
        "name": "inner", "llm": llm,
        "tasks": [{"name": "a", "prompt": "ask {{ seed.x }}", "gate": {"message": "?"}},
                  {"name": "b", "prompt": "again {{ tasks.a }}"}],
    }  # fmt: skip
    wanted = body()
    wanted["pipeline"]["tasks"] = [{"name": "t", "pipeline": inner, "seed": {"x": "{{ seed.n + 1 }}"}}]
    wanted["seed"]["data"] = {"n": 4}
    with workers(tmp_path, place, "one", "two", slots=1, PO_SHARED_WORKER="0"):
        async with api_node(tmp_path / "api", place) as api:
            model.hold()
            run = (await api.submissions.submit(wanted, owner="local"))[0].id
            model.wait_for(1)
            (child,) = api.projections.state(await asyncio.to_thread(api.store.head, run)).child_runs
            # The run that waits holds no place, so that of its task may be on its node or on the other one.
            assert {await holder_of(api, run), await holder_of(api, child)} <= {"one", "two"}
            model.release()
            await wait_for_state(api, child, ["waiting"])
            waiting, _ = await api.runs.page("local", ["waiting"])
            assert [view.id for view in waiting] == [run], "the run of whose parts one waits for a person"
            await api.control.gate(run, "local", "approve")
            view = await wait_for_state(api, run)
            assert view.state == "done", view.error
            assert len(model.requests) == view.usage.calls == 2
            assert set((await api.results.outputs(run, "local"))["t"]) == {"a", "b"}


@pytest.mark.slow
async def test_the_shards_of_a_map_are_worked_off_wherever_there_is_room(
    tmp_path: Path, place: str, model: ModelServer
) -> None:
    llm = {"model": "openai:gpt-4o-mini", "max_tokens": 50}
    rows = {"name": "rows", "for_each": "{{ seed.rows }}", "prompt": "say {{ item }}", "shards": 4}
    pipeline = {"name": "p", "llm": llm, "tasks": [{**rows, "max_concurrency": 8}]}
    with workers(tmp_path, place, "a", "b"):
        async with api_node(tmp_path / "api", place) as api:
            model.latency = 0.1
            wanted = {"pipeline": pipeline, "seed": {"name": "s", "data": {"rows": list(range(80))}}}
            run = (await api.submissions.submit(wanted, owner="local"))[0].id
            view = await wait_for_state(api, run, patience=60)
            assert view.state == "done", view.error
            assert len(model.requests) == 80
            assert model.duplicates() == {}


async def test_what_workers_write_themselves_has_nobody_read_their_runs() -> None:
    """Every commit is notified. The supervisor looks at a run, and has its worker look, where somebody else wrote."""
    heads: dict[str, Any] = {name: {"n": 7, "requested": 3} for name in ("own", "cancelled")}
    workers = {name: WorkerHandle(name, {"pid": 1, "started": 0.0}, 1.0) for name in heads}  # type: ignore[typeddict-item]
    for worker in workers.values():
        worker.requested = 3
    heads["cancelled"]["requested"] = 7
    looked: list[str] = []

    async def attend(run: str) -> None:
        looked.append(run)

    async def in_place(work: Any, *args: Any) -> Any:
        return work(*args)

    supervisor = SimpleNamespace(processes=SimpleNamespace(get=workers.get), attend=attend)
    local = SimpleNamespace(supervisor=supervisor)
    share = SimpleNamespace(is_elsewhere=lambda head: False)
    store = SimpleNamespace(heads=lambda runs: {run: heads[run] for run in runs})
    node: Any = NodeDispatcher(local, share, store, None, None, in_place, node="n", ttl=5)  # type: ignore[arg-type]
    check = asyncio.create_task(node._check({"own", "cancelled"}))
    await asyncio.sleep(0.1)
    assert looked == ["cancelled"]
    workers["own"].written = 7  # what it says by itself, half a second later at most
    workers["cancelled"].written = 7
    await check
    assert looked == ["cancelled"]
    # An older node's request is in no head: it is heard of when the worker did not write that record.
    heads["own"]["n"] = 8
    await node._check({"own"})
    assert looked == ["cancelled", "own"]
