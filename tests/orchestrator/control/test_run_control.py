"""Restart, fork, dead letters, queue and control with real workers (B11-B14, G5, R1.2)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.errors import Conflict, InvalidInput, NotFound
from po_jupyter.orchestrator.service import RunningOrchestrator
from tests.support.orchestrator import body, orchestrator, task, wait_for_state

pytestmark = pytest.mark.integration

COUNT = """
import json, pathlib

def integration(ctx):
    if ctx.config.get("control"):
        (ctx.io.task_dir / "control.json").write_text(json.dumps(ctx.config["control"]))
    return {"attempt": ctx.meta["attempt"], "seen": {n: ctx.tasks[n] for n in ctx.tasks}, "x":
    ctx.seed.get("text")}
"""


def count(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "source": COUNT, **more}


async def made(service: RunningOrchestrator, *tasks: dict[str, Any], **more: Any) -> str:
    view, _ = await service.submissions.submit(body(*tasks, **more), owner="me")
    return view.id


async def attempts(service: RunningOrchestrator, run: str) -> dict[str, int]:
    return {name: value["attempt"] for name, value in (await service.results.outputs(run, "me")).items()}


async def test_a_run_is_restarted_clean_from_a_task_or_one_task_only(tmp_path: Path) -> None:
    """B13: new attempts in the same run; earlier checkpoints stay in its history."""
    async with orchestrator(tmp_path) as service:
        run = await made(service, count("a"), count("b"), count("c"))
        await wait_for_state(service, run)
        with pytest.raises(InvalidInput, match="no task is named"):
            await service.control.restart(run, "me", only=True)
        with pytest.raises(NotFound, match="did you mean"):
            await service.control.restart(run, "me", "bb")

        await service.control.restart(run, "me")
        assert (await wait_for_state(service, run)).state == "done"
        assert await attempts(service, run) == {"a": 2, "b": 2, "c": 2}

        await service.control.restart(run, "me", "b")
        assert (await wait_for_state(service, run)).state == "done"
        assert await attempts(service, run) == {"a": 2, "b": 3, "c": 3}

        await service.control.restart(run, "me", "b", only=True)
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert await attempts(service, run) == {"a": 2, "b": 4, "c": 3}

        done = [e for e in await service.runs.events(run, "me", limit=1000) if e["type"] == "task.done"]
        assert len(done) == 3 + 3 + 2 + 1
        assert len({tuple(e["data"]["output"]) for e in done}) == len(done), "each checkpoint is still there"


async def test_one_task_only_and_then_the_rest(tmp_path: Path) -> None:
    """B13: `only` stops after its task and says so; a resume goes on with what is left."""
    flag = tmp_path / "flag"
    async with orchestrator(tmp_path / "data") as service:
        run = await made(service, count("a"), task("b", fail=str(flag)), count("c"))
        assert (await wait_for_state(service, run)).state == "failed"
        with pytest.raises(Conflict, match="needs 'b', which is failed"):
            await service.control.restart(run, "me", "c", only=True)
        flag.touch()
        await service.control.restart(run, "me", "b", only=True)
        view = await wait_for_state(service, run)
        assert view.state == "cancelled"
        assert view.error is not None
        assert view.error["code"] == "stopped"
        assert "not run: c" in view.error["message"]
        assert {t.name: t.state for t in view.tasks} == {"a": "done", "b": "done", "c": "pending"}
        await service.control.resume(run, "me")
        assert (await wait_for_state(service, run)).state == "done"


async def test_usage_is_kept_or_cleared(tmp_path: Path) -> None:
    """B13: keep or clear usage."""
    prompt = {"name": "p", "prompt": "hello", "llm": {"model": "fake:echo"}}
    async with orchestrator(tmp_path) as service:
        run = await made(service, prompt)
        assert (await wait_for_state(service, run)).usage.calls == 1
        await service.control.restart(run, "me")
        assert (await wait_for_state(service, run)).usage.calls == 2
        await service.control.restart(run, "me", clear_usage=True)
        assert (await wait_for_state(service, run)).usage.calls == 1


async def test_a_run_at_work_is_not_restarted(tmp_path: Path) -> None:
    async with orchestrator(tmp_path) as service:
        run = await made(service, task("a", seconds=30))
        with pytest.raises(Conflict):
            await service.control.restart(run, "me")
        await service.control.cancel(run, "me")
        assert (await wait_for_state(service, run)).state == "cancelled"


async def test_a_fork_takes_over_checkpoints_and_leaves_the_old_run(tmp_path: Path) -> None:
    """G5: copies of what came before, anew from the task on, with another seed; the old run untouched and
    deletable."""
    rows = {"name": "m", "source": COUNT, "for_each": "{{ [1, 2, 3] }}", "needs": ["a"]}
    async with orchestrator(tmp_path) as service:
        old = await made(service, count("a", gate="ok?"), rows, count("b"), count("c"))
        await wait_for_state(service, old, ("waiting",))
        await service.control.gate(old, "me", "approve", "fine")
        before = await wait_for_state(service, old)
        with pytest.raises(NotFound, match="has no task 'd'"):
            await service.control.fork(old, "me", "d")

        forked = await service.control.fork(old, "me", "b", seed={"name": "other", "data": {"text": "y"}})
        assert forked.forked_from == {"run": old, "from_task": "b"}
        view = await wait_for_state(service, forked.id)
        assert view.state == "done"
        ours = await service.results.outputs(forked.id, "me")
        theirs = await service.results.outputs(old, "me")
        assert ours["a"] == theirs["a"]
        assert ours["m"] == theirs["m"]
        assert (ours["a"]["x"], ours["b"]["x"]) == ("x", "y")
        assert len((await service.results.items(forked.id, "me", "m"))[0]) == 3
        events = await service.runs.events(forked.id, "me", limit=1000)
        assert [e["task"] for e in events if e["type"] == "task.started"] == ["b", "c"]
        [decided] = [e for e in events if e["type"] == "gate.decided"]
        assert decided["data"]["note"] == "fine", "who approved what holds in the copy"
        assert (await service.runs.get(old, "me")) == before
        await service.control.delete(old, "me")
        assert (await service.results.outputs(forked.id, "me"))["m"] == theirs["m"]


async def test_a_fork_that_is_asked_for_twice_is_one(tmp_path: Path) -> None:
    """Two clicks, or an answer that was lost: the key says that it is the same one."""
    async with orchestrator(tmp_path) as service:
        old = await made(service, count("a"), count("b"))
        await wait_for_state(service, old)
        first = await service.control.fork(old, "me", "b", idempotency_key="k")
        again = await service.control.fork(old, "me", "b", idempotency_key="k")
        assert again.id == first.id
        with pytest.raises(Conflict, match="another request"):
            await service.control.fork(old, "me", "a", idempotency_key="k")
        assert (await service.control.fork(old, "me", "b")).id != first.id
        await wait_for_state(service, first.id)
        kept = {path.name for path in (tmp_path / "runs").iterdir()}
        assert len(kept & {old, first.id}) == 2 and len(kept) <= 3


async def test_a_fork_has_the_artifacts_of_what_it_takes_over(tmp_path: Path) -> None:
    """G5, B4: copies; those of tasks that run again are not among them."""
    writes = """
def integration(ctx):
    name = ctx.meta["task"] if ctx.item is None else f"row{ctx.item}"
    ctx.io.write_artifact(name + ".txt", name)
"""
    reads = "def integration(ctx):\n    return [ctx.io.read_artifact(n) for n in ('a.txt', 'row2.txt')]\n"
    async with orchestrator(tmp_path) as service:
        old = await made(
            service,
            {"name": "a", "source": writes},
            {"name": "m", "source": writes, "for_each": "{{ [1, 2] }}"},
            {"name": "b", "source": reads},
            {"name": "c", "source": writes},
        )
        assert (await wait_for_state(service, old)).state == "done"
        names = [a["name"] for a in await service.results.artifacts(old, "me")]
        assert names == ["a.txt", "c.txt", "row1.txt", "row2.txt"]
        forked = await service.control.fork(old, "me", "b")
        await service.control.delete(old, "me")
        assert (await wait_for_state(service, forked.id)).state == "done"
        assert (await service.results.outputs(forked.id, "me"))["b"] == ["a", "row2"]
        assert [a["name"] for a in await service.results.artifacts(forked.id, "me")] == names
        with await service.results.artifact(forked.id, "me", "c.txt") as file:
            assert file.read() == b"c"


async def test_a_fork_may_have_another_pipeline(tmp_path: Path) -> None:
    """G5: the definition changes from the task on; a wrong one starts nothing."""
    async with orchestrator(tmp_path) as service:
        old = await made(service, count("a"), count("b"))
        await wait_for_state(service, old)
        new = {"name": "test", "version": "1.1.0", "tasks": [count("a"), count("extra"), count("b")]}
        view = await wait_for_state(service, (await service.control.fork(old, "me", "extra", pipeline=new)).id)
        assert (view.state, view.version) == ("done", "1.1.0")
        assert [t.attempt for t in view.tasks] == [0, 1, 1], "the first one was taken over"
        with pytest.raises(InvalidInput):
            await service.control.fork(
                old, "me", "b", pipeline={"name": "test", "tasks": [{"name": "b", "promt": "x"}]}
            )
        assert len((await service.runs.page("me"))[0]) == 2


async def test_what_tasks_added_is_seen_and_forked(tmp_path: Path) -> None:
    """B11 end to end: control.json in a worker; the view, a restart and a fork know the added task."""
    control = {
        "patch": {"add": [{"name": "deep-dive", "task": "b"}], "insertAfter": "b"},
        "skip": [{"task": "c", "reason": "no need"}],
    }
    async with orchestrator(tmp_path) as service:
        run = await made(service, count("a", config={"control": control}), count("b"), count("c"), count("d"))
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert [(t.name, t.state, t.reason) for t in view.tasks] == [
            ("a", "done", None),
            ("b", "done", None),
            ("deep-dive", "done", None),
            ("c", "skipped", "no need"),
            ("d", "done", None),
        ]
        await service.control.restart(run, "me", "deep-dive")
        assert (await wait_for_state(service, run)).state == "done"
        assert (await attempts(service, run))["deep-dive"] == 2
        await service.control.restart(run, "me")
        view = await wait_for_state(service, run)
        assert [t.name for t in view.tasks] == ["a", "b", "deep-dive", "c", "d"]
        assert (await attempts(service, run)) == {"a": 2, "b": 2, "deep-dive": 3, "d": 3}
        kept = await wait_for_state(service, (await service.control.fork(run, "me", "d")).id)
        assert [(t.name, t.attempt) for t in kept.tasks] == [
            ("a", 0), ("b", 0), ("deep-dive", 0), ("c", 0), ("d", 1)
        ]  # fmt: skip
        anew = await wait_for_state(service, (await service.control.fork(run, "me", "a")).id)
        assert [t.name for t in anew.tasks] == ["a", "b", "deep-dive", "c", "d"]
        assert anew.tasks[2].attempt == 1


async def test_dead_letters_have_the_whole_context(tmp_path: Path) -> None:
    """R1.2: run, task, stage, attempt, last error, log, crashes; requeued or discarded, and only when dead."""
    async with orchestrator(tmp_path, max_crashes=2) as service:
        run = await made(service, count("a"), task("b", crash=True))
        assert (await wait_for_state(service, run)).state == "dead"
        [letter] = (await service.runs.dead_letters("me"))[0]
        assert (letter["id"], letter["task"], letter["stage"], letter["attempt"]) == (run, "b", "ingestion", 1)
        assert letter["crashes"] == 2
        assert letter["error"]["code"] == "worker_crashed"
        assert "SIGKILL" in letter["error"]["message"]
        assert letter["tasks"] == {"total": 2, "done": 1}
        json.dumps(letter)
        assert (await service.runs.dead_letters("somebody else"))[0] == []

        await service.control.requeue(run, "me")
        assert (await wait_for_state(service, run)).state == "dead"
        done = [e["task"] for e in await service.runs.events(run, "me", limit=1000) if e["type"] == "task.done"]
        assert done == ["a"], "what was finished is kept"
        fine = await made(service, count("a"))
        await wait_for_state(service, fine)
        for wrong in (service.control.requeue(fine, "me"), service.control.discard(fine, "me")):
            with pytest.raises(Conflict, match="no dead letter, it is done"):
                await wrong
        await service.control.discard(run, "me")
        assert (await service.runs.dead_letters("me"))[0] == []
        with pytest.raises(NotFound):
            await service.runs.get(run, "me")


async def test_the_queue_has_positions_priorities_and_frees_slots(tmp_path: Path) -> None:
    """B14: a limit of running runs; the rest wait in order of priority, then age; a dead worker's slot is
    free."""
    async with orchestrator(tmp_path / "data", max_running=1, max_crashes=1) as service:
        first = await made(service, task("a", seconds=30))
        await wait_for_state(service, first, ("running",))
        low = await made(service, count("a"), name="low")
        high = await made(service, count("a"), name="high", priority=5)
        late = await made(service, count("a"), name="late")
        places = {v.pipeline: v.position for v in (await service.runs.page("me", ("pending",)))[0]}
        assert places == {"high": 1, "low": 2, "late": 3}
        assert service.meta()["runs"] == {"running": 1, "queued": 3}
        assert service.meta()["limits"]["running"] == 1
        await service.control.cancel(first, "me")
        for run in (first, low, high, late):
            await wait_for_state(service, run)
        started = {}
        for run in (low, high, late):
            [event] = [e for e in await service.runs.events(run, "me") if e["type"] == "run.started"]
            started[run] = event["at"]
        assert sorted(started, key=started.__getitem__) == [high, low, late]

        dead = await made(service, task("a", crash=True))
        after = await made(service, count("a"))
        assert (await wait_for_state(service, dead)).state == "dead"
        assert (await wait_for_state(service, after)).state == "done"
        async with asyncio.timeout(10):  # its worker's farewell comes after the event
            while service.meta()["runs"] != {"running": 0, "queued": 0}:
                await asyncio.sleep(0.02)


async def test_a_rejected_gate_ends_cancelled_and_can_be_resumed(tmp_path: Path) -> None:
    """B12: who, when and why are kept; the decision is final; a resume asks again."""
    async with orchestrator(tmp_path) as service:
        run = await made(
            service,
            count("a", config={"control": {"pause": {"message": "ok?", "artifacts": ["o.json"]}}}),
            count("b"),
        )
        view = await wait_for_state(service, run, ("waiting",))
        assert view.gate == {"task": "a", "message": "ok?", "artifacts": ["o.json"]}
        await service.control.gate(run, "me", "reject", "too long")
        view = await wait_for_state(service, run)
        assert view.state == "cancelled"
        assert view.error is not None
        assert view.error["code"] == "gate_rejected"
        assert "too long" in view.error["message"]
        for decision in ("approve", "reject"):
            with pytest.raises(Conflict):
                await service.control.gate(run, "me", decision)
        [decided] = [e for e in await service.runs.events(run, "me") if e["type"] == "gate.decided"]
        assert (decided["data"]["by"], decided["data"]["note"]) == ("me", "too long")
        assert decided["at"]
        await service.control.resume(run, "me")
        await wait_for_state(service, run, ("waiting",))
        await service.control.gate(run, "me", "approve")
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert [t.attempt for t in view.tasks] == [1, 1], "what was paid for is not done again"


async def test_a_decision_on_one_gate_is_not_taken_for_the_next(tmp_path: Path) -> None:
    """B12: a decision that names its task is refused at the gate of another, which nobody looked at."""
    pause = {"control": {"pause": {"message": "ok?"}}}
    async with orchestrator(tmp_path) as service:
        run = await made(service, count("a", config=pause), count("b", config=pause))
        await wait_for_state(service, run, ("waiting",))
        with pytest.raises(Conflict, match="gate of a, not of b"):
            await service.control.gate(run, "me", "approve", task="b")
        await service.control.gate(run, "me", "approve", task="a")
        view = await wait_for_state(service, run, ("waiting",))
        assert view.gate is not None
        assert view.gate["task"] == "b"
        for decision in ("approve", "reject"):
            with pytest.raises(Conflict, match="gate of b, not of a"):
                await service.control.gate(run, "me", decision, task="a")
        await service.control.gate(run, "me", "approve", task="b")
        assert (await wait_for_state(service, run)).state == "done"
