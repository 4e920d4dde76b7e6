"""The run of a task's pipeline as its parent follows it: gates below, failed rows, a budget that is new."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.state.resume import resume_plan
from po_jupyter.engine.state.run_state import run_view_of
from po_jupyter.model.run.events import draft
from tests.support.engine import wait_until
from tests.support.shards import Family

ODD = """
import os

def inference(ctx):
    if ctx.item % 2 and not os.path.exists(ctx.config["go"]):
        raise ValueError(f"odd {ctx.item}")
    return ctx.item
"""


def inner(tasks: list[Any], **more: Any) -> dict[str, Any]:
    return {"name": "inner", "llm": {"model": "fake:echo"}, "tasks": tasks, **more}


@pytest.fixture
def family(tmp_path: Path) -> Family:
    return Family(tmp_path)


async def test_a_gate_below_is_that_of_the_run(family: Family) -> None:
    """At any depth: the view waits, and says which gate it is and where."""
    gated = inner([{"name": "a", "prompt": "x", "gate": "may it?"}])
    middle = {"name": "middle", "tasks": [{"name": "i", "pipeline": gated}]}
    family.create([{"name": "t", "pipeline": middle}])
    working = asyncio.create_task(family.go())
    await wait_until(lambda: any(e["data"].get("gate") for e in family.events("task.waiting")))
    view = run_view_of(read_history(family.store, family.run).state, {})
    (child,) = family.children()
    (innermost,) = read_history(family.store, child).state.child_runs
    assert view.state == "waiting"
    assert view.gate == {"run": innermost, "task": "t.i.a", "message": "may it?", "artifacts": []}
    events = [draft("gate.decided", "a", decision="approve", note="", by="me"), draft("run.resumed", by="me")]
    family.store.request(innermost, events, "pending")
    family.look_at(innermost)
    assert await working == "done"
    assert run_view_of(family.state, {}).gate is None


async def test_failed_rows_of_a_pipeline_that_is_done_are_asked_for_again(
    family: Family, tmp_path: Path
) -> None:
    """P12: `--only-failed` reaches them, and nothing else is done twice."""
    go = tmp_path / "go"
    rows = {
        "name": "m", "for_each": "{{ seed.rows }}", "source": ODD, "config": {"go": str(go)},
        "retry": {"max_attempts": 1},
    }  # fmt: skip
    family.create(
        [{"name": "t", "pipeline": inner([{"name": "p", "prompt": "first", "needs": []}, rows])},
         {"name": "z", "prompt": "after {{ tasks.t.m | length }}"}],
        {"rows": [0, 1, 2, 3]},
    )  # fmt: skip
    assert await family.go() == "done"
    assert family.state.tasks["t"].failed_rows == 2
    assert run_view_of(family.state, {}).tasks[0].shards[0]["failed_rows"] == 2
    go.touch()
    todo = resume_plan(family.session.log.pipeline, family.state, only_failed=True)
    assert (todo.reset, todo.clear) == (("t", "z"), ("z",))
    family.resume(*todo.reset, clear=list(todo.clear))
    assert await family.go() == "done"
    assert [row["output"] for row in family.output("t")["m"]] == [0, 1, 2, 3]
    assert len(family.children()) == 1
    assert family.fake.prompts == ["first", "after 4", "after 4"]
    assert family.state.tasks["t"].failed_rows == 0


async def test_a_limit_that_a_resume_sets_holds_for_a_run_that_was_left_at_work(family: Family) -> None:
    """It knows nothing of the limit: it is cancelled, and goes on with a share."""
    family.alone, family.drains_at = True, 1
    family.create([{"name": "t", "pipeline": inner([{"name": "a", "prompt": "say"}])}])
    assert await family.go() == "released"
    (child,) = family.children()
    family.store.request(
        family.run, [draft("run.dead", error={"code": "worker_crashed", "message": ""})], "dead"
    )
    resumed = draft("run.resumed", by="me", reset=["t"], clear=[], keep=[], budget={"tokens": 1})
    family.store.request(family.run, [resumed], "pending")
    family.alone = False
    assert await family.go() == "failed"
    error = family.state.tasks["t"].error
    assert error is not None
    assert error["code"] == "budget_exceeded"
    assert read_history(family.store, child).state.budget == {"tokens": 1}
    assert family.fake.prompts == [], "nothing was spent beyond it"
