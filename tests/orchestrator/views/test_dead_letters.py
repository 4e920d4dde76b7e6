"""Dead letters: where a run was when it died, and all that explains why (R1.2)."""

from __future__ import annotations

from typing import Any

from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.events import draft
from po_jupyter.orchestrator.views.dead_letters import letter

PIPELINE = Pipeline(name="p", tasks=[{"name": n, "prompt": "x", "needs": []} for n in "abc"])
DIED = {
    "code": "worker_crashed",
    "message": "SIGKILL",
    "details": {"log": "the end of it", "crashes": 3, "signal": 9},
}


def dead(*events: dict[str, Any], error: Any = DIED) -> RunState:
    tasks = [{"name": t.name, "kind": "prompt"} for t in PIPELINE.tasks]
    created = draft("run.created", name="seed", pipeline="p", version="1.2.3", tasks=tasks, owner="me")
    log: list[Any] = [created, *events, draft("run.dead", error=error)]
    return fold(RunState("r"), [{**e, "offset": i} for i, e in enumerate(log, 1)])


def test_every_task_that_was_at_work_is_named_with_its_stage_and_attempt() -> None:
    run = dead(
        draft("task.started", "a", attempt=1),
        draft("task.done", "a", output=0, seconds=1.0),
        draft("task.started", "b", attempt=2),
        draft("task.stage", "b", stage="inference", round=0),
        draft("call.done", "b", model="fake:echo", seconds=1.0, usage={"calls": 1, "unknown": 1}),
        draft("task.started", "c", attempt=1),
        draft("worker.crashed", error=DIED, crashes=1),
    )
    found = letter(run, PIPELINE)
    assert found["at_work"] == [
        {"task": "b", "stage": "inference", "attempt": 2}, {"task": "c", "stage": None, "attempt": 1},
    ]  # fmt: skip
    assert (found["task"], found["stage"], found["attempt"]) == ("b", "inference", 2)
    assert (found["id"], found["name"], found["pipeline"], found["version"]) == ("r", "seed", "p", "1.2.3")
    assert (found["owner"], found["died_at"]) == ("me", run.updated_at)
    assert found["tasks"] == {"total": 3, "done": 1}
    assert (found["usage"]["calls"], found["usage"]["unknown"]) == (1, 1)


def test_the_log_is_beside_the_error_and_not_in_it_twice() -> None:
    found = letter(dead(), PIPELINE)
    assert found["log"] == "the end of it"
    assert found["error"] == {**DIED, "details": {"crashes": 3, "signal": 9}}
    assert found["crashes"] == 3


def test_a_run_that_died_before_a_task_began_was_at_what_comes_next() -> None:
    run = dead(draft("task.done", "a", output=0, seconds=1.0))
    found = letter(run, PIPELINE)
    assert [(place["task"], place["stage"], place["attempt"]) for place in found["at_work"]] == [
        ("b", None, 1), ("c", None, 1),
    ]  # fmt: skip


def test_a_task_that_had_failed_before_is_not_what_it_died_of() -> None:
    run = dead(
        draft("task.failed", "a", error={"code": "stage_failed", "message": "m"}, seconds=1.0),
        draft("task.started", "b", attempt=1),
    )
    assert [place["task"] for place in letter(run, PIPELINE)["at_work"]] == ["b"]


def test_an_error_that_says_nothing_is_a_letter_all_the_same() -> None:
    """A history of an earlier version."""
    done = [draft("task.done", name, output=0, seconds=1.0) for name in "abc"]
    found = letter(dead(*done, draft("worker.crashed", error={}, crashes=1), error=None), PIPELINE)
    assert (found["task"], found["at_work"], found["log"], found["crashes"]) == (None, [], "", 1)
    assert found["error"] == {"details": {}}
