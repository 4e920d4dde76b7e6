"""Tasks that run a pipeline, with real workers: at work, gated, cancelled, killed, deleted with their run."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import Conflict
from po_jupyter.orchestrator.service import RunningOrchestrator
from tests.support.orchestrator import body, orchestrator, wait_for_file, wait_for_holder, wait_for_state

pytestmark = pytest.mark.integration

STEP = """
import asyncio, os

async def inference(ctx):
    with open(ctx.config["log"], "a") as log:
        log.write(f"{ctx.seed['n']}\\n")
    while ctx.config.get("hold") and not os.path.exists(ctx.config["hold"]):
        await asyncio.sleep(0.02)
    return {"n": ctx.seed["n"] * 10}
"""


def step(**config: Any) -> dict[str, Any]:
    return {"name": "s", "source": STEP, "config": config}


async def made(service: RunningOrchestrator, *tasks: dict[str, Any], deep: bool = False) -> str:
    await service.pipelines.put("inner", {"tasks": list(tasks)}, owner="me")
    name = "inner"
    if deep:
        await service.pipelines.put("middle", {"tasks": [{"name": "i", "pipeline": "inner"}]}, owner="me")
        name = "middle"
    task = {"name": "t", "pipeline": name, "seed": {"n": "{{ seed.n + 1 }}"}}
    view, _ = await service.submissions.submit(body(task, seed={"name": "seed", "data": {"n": 1}}), owner="me")
    return view.id


def children(service: RunningOrchestrator, run: str) -> list[str]:
    return service.projections.state(service.store.head(run)).child_runs


async def wait_for_waiting(service: RunningOrchestrator, run: str) -> str:
    """What the task of a run says that it waits for, once that is a decision."""
    async with service.changes.subscribe(run) as notes, asyncio.timeout(20):
        while True:
            said = (await service.runs.get(run, None)).tasks[0].waiting or ""
            if "decision" in said:
                return said
            await notes.get(0.5)


async def test_a_task_is_a_run_that_goes_with_its_parent(tmp_path: Path) -> None:
    """With one place for all, and two in one another: a run that waits for another takes none."""
    log = tmp_path / "log"
    async with orchestrator(tmp_path / "data", max_running=1) as service:
        run = await made(service, step(log=str(log)), deep=True)
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert (await service.results.outputs(run, "me"))["t"] == {"i": {"s": {"n": 20}}}
        assert view.tasks[0].kind == "pipeline"
        assert [(s["rows"], s["state"]) for s in view.tasks[0].shards] == [("", "done")]
        listed, _ = await service.runs.page("me")
        assert [one.id for one in listed] == [run]
        (child,) = children(service, run)
        assert (await service.runs.get(child, "me")).parent == {"run": run, "task": "t", "shard": 1}
        for refused in (service.control.cancel(child, "me"), service.control.delete(child, "me")):
            with pytest.raises(Conflict, match="is a part of run"):
                await refused
        await service.control.delete(run, "me")
        assert service.store.runs(children=True).heads == []


async def test_its_gate_is_decided_where_it_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with orchestrator(tmp_path / "data") as service:
        run = await made(
            service, {**step(log=str(log)), "gate": "may it?"}, {**step(log=str(log)), "name": "z"}
        )
        await wait_for_file(log)
        (child,) = children(service, run)
        assert (await wait_for_state(service, child, "waiting")).state == "waiting"
        await service.control.gate(child, "me", "approve")
        assert (await wait_for_state(service, run)).state == "done"
        assert log.read_text().split() == ["2", "2"]
        with pytest.raises(Conflict, match="has no open gate"):
            await service.control.gate(run, "me", "approve")


async def test_its_gate_is_decided_from_the_run_that_people_see(tmp_path: Path) -> None:
    async with orchestrator(tmp_path / "data") as service:
        run = await made(service, {**step(log=str(tmp_path / "log")), "gate": "may it?"}, deep=True)
        view = await wait_for_waiting(service, run)
        assert "may it?" in view
        await service.control.gate(run, "me", "reject", "no")
        ended = await wait_for_state(service, run)
        assert ended.state == "failed"
        assert ended.error is not None
        assert "was rejected: no" in ended.error["message"]


async def test_a_cancel_reaches_the_innermost_and_a_resume_goes_on(tmp_path: Path) -> None:
    """P12."""
    log, hold = tmp_path / "log", tmp_path / "go"
    async with orchestrator(tmp_path / "data") as service:
        run = await made(
            service, {**step(log=str(log)), "name": "first"}, step(log=str(log), hold=str(hold)), deep=True
        )
        await wait_for_file(log, words=2)
        await service.control.cancel(run, "me")
        assert (await wait_for_state(service, run)).state == "cancelled"
        (child,) = children(service, run)
        (innermost,) = children(service, child)
        assert {service.store.head(one)["state"] for one in (child, innermost)} == {"cancelled"}
        hold.touch()
        await service.control.resume(run, "me")
        assert (await wait_for_state(service, run)).state == "done"
        assert len(log.read_text().split()) == 3, "what was finished is kept"
        assert (children(service, run), children(service, child)) == ([child], [innermost])


async def test_killed_workers_of_the_whole_and_of_its_pipeline_are_replaced(tmp_path: Path) -> None:
    log, hold = tmp_path / "log", tmp_path / "go"
    async with orchestrator(tmp_path / "data") as service:
        run = await made(service, step(log=str(log), hold=str(hold)))
        await wait_for_file(log)
        (child,) = children(service, run)
        os.kill(await wait_for_holder(tmp_path / "data", child), signal.SIGKILL)
        os.kill(await wait_for_holder(tmp_path / "data", run), signal.SIGKILL)
        hold.touch()
        assert (await wait_for_state(service, run)).state == "done"
        assert children(service, run) == [child]
