"""Child runs with real workers: at work, cancelled, killed, refused, deleted with the run that they are a part of."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import Conflict
from po_jupyter.orchestrator.service import RunningOrchestrator
from tests.support.orchestrator import body, orchestrator, wait_for_file, wait_for_holder, wait_for_state

pytestmark = pytest.mark.integration

ROW = """
import asyncio, os, signal

async def inference(ctx):
    config = ctx.config
    if ctx.index == config.get("poison"):
        os.kill(os.getpid(), signal.SIGKILL)
    if config.get("log"):
        with open(config["log"], "a") as log:
            log.write(f"{ctx.index}\\n")
    while config.get("hold") and ctx.index >= 2 and not os.path.exists(config["hold"]):
        await asyncio.sleep(0.02)
    return {"n": ctx.item * 10}
"""


def rows_of(shards: int, **config: Any) -> dict[str, Any]:
    return {
        "name": "m", "source": ROW, "config": config, "for_each": "{{ seed.rows }}", "shards": shards,
        "retry": {"max_attempts": 1}, "max_concurrency": 2,
    }  # fmt: skip


async def made(service: RunningOrchestrator, task: dict[str, Any], rows: int = 6) -> str:
    seed = {"name": "seed", "data": {"rows": list(range(rows))}}
    view, _ = await service.submissions.submit(body(task, seed=seed), owner="me")
    return view.id


def children(service: RunningOrchestrator, run: str) -> list[str]:
    return service.projections.state(service.store.head(run)).child_runs


async def test_a_map_is_worked_on_by_child_runs_that_go_with_it(tmp_path: Path) -> None:
    """With one place for all: a run that waits for its children takes none."""
    async with orchestrator(tmp_path, max_running=1) as service:
        run = await made(service, rows_of(3))
        view = await wait_for_state(service, run)
        assert view.state == "done"
        outputs = await service.results.outputs(run, "me")
        assert [row["output"] for row in outputs["m"]] == [{"n": n * 10} for n in range(6)]
        shards = view.tasks[0].shards
        assert [(s["rows"], s["state"]) for s in shards] == [("0-1", "done"), ("2-3", "done"), ("4-5", "done")]

        listed, _ = await service.runs.page("me")
        assert [one.id for one in listed] == [run]
        everything, _ = await service.runs.page("me", children=True)
        assert {one.id for one in everything} == {run, *children(service, run)}
        part = await service.runs.get(str(shards[1]["run"]), "me")
        assert part.parent == {"run": run, "task": "m", "shard": 2}
        for refused in (
            service.control.cancel(part.id, "me"),
            service.control.resume(part.id, "me"),
            service.control.restart(part.id, "me"),
            service.control.fork(part.id, "me", "m"),
            service.control.delete(part.id, "me"),
        ):
            with pytest.raises(Conflict, match="is a part of run"):
                await refused
        await service.control.delete(run, "me")
        assert service.store.runs(children=True).heads == []
        assert not [path for path in (tmp_path / "runs").iterdir() if path.is_dir()]


async def test_a_cancel_reaches_the_child_runs_and_a_resume_goes_on(tmp_path: Path) -> None:
    """P12."""
    log, hold = tmp_path / "log", tmp_path / "go"
    async with orchestrator(tmp_path / "data") as service:
        run = await made(service, rows_of(2, log=str(log), hold=str(hold)), rows=8)
        await wait_for_file(log, words=6)  # 0, 1, and of each child run two that are held
        await service.control.cancel(run, "me")
        view = await wait_for_state(service, run)
        assert view.state == "cancelled"
        assert {service.store.head(child)["state"] for child in children(service, run)} == {"cancelled"}
        hold.touch()
        await service.control.resume(run, "me")
        view = await wait_for_state(service, run)
        assert view.state == "done"
        again = log.read_text().split()
        assert again.count("0") == again.count("1") == 1, "what was finished is kept"
        with pytest.raises(Conflict):
            await service.control.cancel(children(service, run)[0], "me")


async def test_a_row_that_kills_its_workers_fails_the_map_and_harms_no_other_shard(tmp_path: Path) -> None:
    async with orchestrator(tmp_path, max_crashes=2) as service:
        run = await made(service, rows_of(2, poison=0))
        view = await wait_for_state(service, run, patience=40)
        assert view.state == "failed"
        assert view.error is not None
        assert view.error["code"] == "shard_failed"
        assert "is dead: the worker of this run was killed by SIGKILL" in view.error["message"]
        items = view.tasks[0].items
        assert items is not None
        assert items.done >= 3
        letters, _ = await service.runs.dead_letters("me")
        assert letters == [], "the whole failed, and says why"


async def test_a_killed_worker_of_the_whole_is_replaced(tmp_path: Path) -> None:
    log, hold = tmp_path / "log", tmp_path / "go"
    async with orchestrator(tmp_path / "data") as service:
        run = await made(service, rows_of(2, log=str(log), hold=str(hold)))
        await wait_for_file(log)
        os.kill(await wait_for_holder(tmp_path / "data", run), signal.SIGKILL)
        hold.touch()
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert sorted(log.read_text().split()) == [str(n) for n in range(6)]
        assert len(children(service, run)) == 2


async def test_child_runs_of_a_dead_run_end_and_a_resume_goes_on(tmp_path: Path) -> None:
    log, hold = tmp_path / "log", tmp_path / "go"
    async with orchestrator(tmp_path / "data", max_crashes=1) as service:
        run = await made(service, rows_of(2, log=str(log), hold=str(hold)), rows=8)
        await wait_for_file(log, words=6)  # 0, 1, and of each child run two that are held
        os.kill(await wait_for_holder(tmp_path / "data", run), signal.SIGKILL)
        view = await wait_for_state(service, run)
        assert view.state == "dead"
        for child in children(service, run):
            assert (await wait_for_state(service, child)).state == "cancelled"
        hold.touch()
        await service.control.resume(run, "me")
        view = await wait_for_state(service, run)
        assert view.state == "done"
