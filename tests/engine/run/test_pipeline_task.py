"""Tasks that run a pipeline: one run of its own, its outputs, its bill, and every request goes through to it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.replay.spent_from_log import spent_from_records
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.usage import Usage
from tests.support.engine import wait_until
from tests.support.shards import Family

TWO = [{"name": "a", "prompt": "say {{ seed.x }}"}, {"name": "b", "prompt": "again {{ tasks.a }}"}]
FAILS_ONCE = """
import os

def inference(ctx):
    if not os.path.exists(ctx.config["go"]):
        raise ValueError("not yet")
    return "went"
"""


def inner(tasks: list[Any], **more: Any) -> dict[str, Any]:
    return {"name": "inner", "llm": {"model": "fake:echo"}, "tasks": tasks, **more}


@pytest.fixture
def family(tmp_path: Path) -> Family:
    return Family(tmp_path)


def bill(family: Family, run: str) -> Usage:
    return read_history(family.store, run).state.usage


async def test_the_output_is_that_of_its_tasks_and_the_bill_counts_once(family: Family) -> None:
    """P3."""
    task = {"name": "t", "pipeline": inner(TWO), "seed": {"x": "{{ seed.n + 1 }}"}}
    family.create([task, {"name": "z", "prompt": "{{ tasks.t.b }}"}], {"n": 4})
    assert await family.go() == "done"
    assert family.output("t") == {"a": "echo: say 5", "b": "echo: again echo: say 5"}
    assert family.fake.prompts == ["say 5", "again echo: say 5", "echo: again echo: say 5"]
    (child,) = family.children()
    assert bill(family, family.run) == bill(family, child) + family.state.tasks["z"].usage
    assert bill(family, family.run).calls == 3
    spent = spent_from_records(family.store.records(family.run)).of_tasks()
    used = spent_from_records(family.store.records(child)).of_tasks()
    assert spent["t"].tokens == sum(amount.tokens for amount in used.values()) > 0
    assert family.store.definition(child)["seed"]["data"] == {"x": 5}


async def test_without_a_seed_it_has_that_of_the_run(family: Family) -> None:
    family.create([{"name": "t", "pipeline": inner(TWO)}], {"x": [1, 2]})
    assert await family.go() == "done"
    assert family.output("t")["a"] == "echo: say [1, 2]"


async def test_rows_of_its_maps_are_in_its_output(family: Family) -> None:
    rows = {"name": "m", "for_each": "{{ seed.rows }}", "prompt": "say {{ item }}"}
    family.create([{"name": "t", "pipeline": inner([rows])}], {"rows": ["p", "q"]})
    assert await family.go() == "done"
    assert [row["output"] for row in family.output("t")["m"]] == ["echo: say p", "echo: say q"]


async def test_a_pipeline_in_a_pipeline_in_a_pipeline(family: Family) -> None:
    middle = {"name": "middle", "tasks": [{"name": "i", "pipeline": inner(TWO)}]}
    family.create([{"name": "t", "pipeline": middle}], {"x": 1})
    assert await family.go() == "done"
    assert family.output("t") == {"i": {"a": "echo: say 1", "b": "echo: again echo: say 1"}}
    assert bill(family, family.run).calls == 2


async def test_a_failure_says_why_and_where_and_a_resume_pays_for_nothing_twice(
    family: Family, tmp_path: Path
) -> None:
    """P12."""
    go = tmp_path / "go"
    tasks = [
        TWO[0],
        {"name": "c", "source": FAILS_ONCE, "config": {"go": str(go)}, "retry": {"max_attempts": 1}},
    ]
    family.create([{"name": "t", "pipeline": inner(tasks)}], {"x": 1})
    assert await family.go() == "failed"
    (child,) = family.children()
    error = family.state.tasks["t"].error
    assert error is not None
    assert error["code"] == "pipeline_failed"
    assert "not yet" in error["message"]
    assert f"po show {short_id(child)}" in error["hint"]
    go.touch()
    family.resume("t")
    assert await family.go() == "done"
    assert family.children() == [child]
    assert family.fake.prompts == ["say 1"]
    assert family.output("t") == {"a": "echo: say 1", "c": "went"}
    assert bill(family, family.run) == bill(family, child)


async def test_a_restart_makes_another_run(family: Family) -> None:
    family.create([{"name": "t", "pipeline": inner(TWO)}], {"x": 1})
    assert await family.go() == "done"
    family.resume("t", clear=["t"])
    assert await family.go() == "done"
    assert len(family.children()) == 2
    assert bill(family, family.run).calls == 4


async def test_a_cancel_goes_through_and_a_resume_goes_on(family: Family) -> None:
    """P12."""
    family.fake.hold = True
    family.create([{"name": "t", "pipeline": inner(TWO)}], {"x": 1})
    working = asyncio.create_task(family.go())
    await family.fake.waiting.wait()
    family.store.request(family.run, [draft("run.cancel_requested", by="me")])
    family.session.signals.cancel_hint()
    assert await working == "cancelled"
    (child,) = family.children()
    assert family.store.head(child)["state"] == "cancelled"
    family.fake.hold = False
    family.fake.gate.set()
    family.resume("t")
    assert await family.go() == "done"
    assert family.children() == [child]


async def test_a_drain_leaves_its_run_at_work_and_the_next_worker_takes_it_up(family: Family) -> None:
    family.alone, family.drains_at = True, 1
    family.create([{"name": "t", "pipeline": inner(TWO)}], {"x": 1})
    assert await family.go() == "released"
    (child,) = family.children()
    await family.work_off(child)
    assert await family.go() == "done"
    assert family.children() == [child]
    assert bill(family, family.run).calls == 2


async def test_a_gate_of_it_is_what_the_task_waits_for(family: Family) -> None:
    gated = [{**TWO[0], "gate": "may it go on?"}, TWO[1]]
    family.create([{"name": "t", "pipeline": inner(gated)}], {"x": 1})
    working = asyncio.create_task(family.go())
    await wait_until(
        lambda: any("decision" in e["data"].get("reason", "") for e in family.events("task.waiting"))
    )
    (child,) = family.children()
    reason = family.events("task.waiting")[-1]["data"]["reason"]
    assert reason == f"a decision in its run {short_id(child)} (po approve {short_id(child)}): may it go on?"
    events = [draft("gate.decided", "a", decision="approve", note="", by="me"), draft("run.resumed", by="me")]
    family.store.request(child, events, "pending")
    family.look_at(child)
    assert await working == "done"


async def test_its_budget_is_what_is_left_of_the_runs(family: Family) -> None:
    family.create([{"name": "t", "pipeline": inner(TWO)}], {"x": 1}, budget={"tokens": 5})
    assert await family.go() == "failed"
    error = family.state.tasks["t"].error
    assert error is not None
    assert error["code"] == "budget_exceeded"
    (child,) = family.children()
    assert read_history(family.store, child).state.budget == {"tokens": 5}


@pytest.mark.parametrize("budget", [{"tokens": 9000}, {"usd": 5.0}])
async def test_pipelines_side_by_side_share_a_budget_that_is_enough_for_all(
    family: Family, budget: dict[str, float]
) -> None:
    """The first one set all of it aside, and the others failed with a budget that was hardly used."""
    tasks = [{"name": f"t{n}", "needs": [], "pipeline": inner(TWO), "seed": {"x": n}} for n in range(4)]
    family.create(tasks, {"x": 1}, budget=budget)
    assert await family.go() == "done"
    assert len(family.fake.prompts) == 8
    assert len(family.children()) == 4


async def test_pipelines_side_by_side_never_use_more_than_the_budget(family: Family) -> None:
    short = {"model": "fake:echo", "max_tokens": 5}
    tasks = [
        {"name": f"t{n}", "needs": [], "pipeline": inner(TWO, llm=short), "seed": {"x": n}} for n in range(4)
    ]
    family.create(tasks, {"x": 1}, budget={"tokens": 80})
    assert await family.go() == "failed"
    used = bill(family, family.run)
    assert 40 < used.input_tokens + used.output_tokens <= 80
    assert {task.state for task in family.state.tasks.values()} == {"done", "failed"}


async def test_an_answer_is_no_reference_to_a_file_of_rows(family: Family) -> None:
    """A model could name files of the owner's; and one that was malformed killed the worker of the run."""
    read = {
        "name": "t",
        "pipeline": inner(TWO),
        "seed": {"x": 1, "rows": {"$rows": "{{ seed.x }}", "count": 1}},
    }
    family.create([read], {"x": "0" * 64})
    assert await family.go() == "failed"
    error = family.state.tasks["t"].error
    assert error is not None
    assert "`seed.rows` comes out as an object with the field '$rows'" in error["message"]
    assert family.children() == []


async def test_a_dead_run_fails_the_task(family: Family) -> None:
    family.alone, family.drains_at = True, 1
    family.create([{"name": "t", "pipeline": inner(TWO)}], {"x": 1})
    assert await family.go() == "released"
    (child,) = family.children()
    error = {"code": "worker_crashed", "message": "it died", "hint": "", "details": {}}
    family.store.request(child, [draft("run.dead", error=error)], "dead")
    assert await family.go() == "failed"
    found = family.state.tasks["t"].error
    assert found is not None
    assert "is dead: it died" in found["message"]


async def test_a_seed_that_cannot_be_made_fails_before_there_is_a_run(family: Family) -> None:
    family.create([{"name": "t", "pipeline": inner(TWO), "seed": {"x": "{{ seed.nothing }}"}}], {"x": 1})
    assert await family.go() == "failed"
    error = family.state.tasks["t"].error
    assert error is not None
    assert error["code"] == "template_failed"
    assert family.children() == []


MAP = {"name": "m", "for_each": "{{ seed.rows }}", "prompt": "say {{ item }}", "llm": {"max_tokens": 20}}


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("of_task", [False, True])
async def test_a_budget_of_a_pipeline_below_is_extended_by_the_name_that_its_error_says(
    family: Family, depth: int, of_task: bool
) -> None:
    """Nobody can resume the run of a task: what its pipeline, or a task in it, may use is said to the whole."""
    limit = {"budget": {"tokens": 60}}
    pipeline = inner([{**MAP, **limit}]) if of_task else inner([MAP], **limit)
    path = "t"
    for _ in range(1, depth):
        pipeline = {"name": "middle", "tasks": [{"name": "i", "pipeline": pipeline}]}
        path += ".i"
    path += ".m" if of_task else ""
    family.create([{"name": "t", "pipeline": pipeline}], {"rows": list(range(6))})
    assert await family.go() == "failed"
    error = family.state.error
    assert error is not None
    assert error["code"] == "budget_exceeded"
    assert f"--budget {path}=N" in error["hint"]
    before = len(family.fake.answered)
    assert 0 < before < 6
    family.resume("t", keep=["t"], budget={"tasks": {path: {"tokens": 1000}}})
    assert await family.go() == "done"
    assert len(family.fake.answered) == 6


async def test_a_budget_of_the_run_is_extended_for_the_pipelines_in_it(family: Family) -> None:
    family.create([{"name": "t", "pipeline": inner([MAP])}], {"rows": list(range(6))}, budget={"tokens": 60})
    assert await family.go() == "failed"
    assert family.state.error is not None
    assert "--budget N" in family.state.error["hint"]
    family.resume("t", keep=["t"], budget={"tokens": 1000})
    assert await family.go() == "done"


@pytest.mark.parametrize("depth", [1, 2])
async def test_failed_rows_are_asked_again_where_a_later_task_failed_of_them(
    family: Family, tmp_path: Path, depth: int
) -> None:
    """As in one pipeline: else nothing but a restart, which pays for all, would get it done."""
    go = tmp_path / "go"
    source = FAILS_ONCE.replace("not os", "ctx.index == 1 and not os").replace('"went"', "ctx.index")
    rows = {
        "name": "m", "for_each": "{{ seed.rows }}", "source": source, "config": {"go": str(go)},
        "retry": {"max_attempts": 1},
    }  # fmt: skip
    last = {"name": "z", "prompt": "{{ tasks.m | sum(attribute='output') }}"}
    pipeline = inner([rows, last])
    if depth == 2:
        pipeline = {"name": "middle", "tasks": [{"name": "i", "pipeline": pipeline}]}
    family.create([{"name": "t", "pipeline": pipeline}], {"rows": [0, 1, 2]})
    assert await family.go() == "failed"
    go.touch()
    family.resume("t")
    assert await family.go() == "failed", "not told to"
    family.resume("t", only_failed=True)
    assert await family.go() == "done"
    assert family.fake.prompts == ["3"]
    assert len(family.children()) == 1
