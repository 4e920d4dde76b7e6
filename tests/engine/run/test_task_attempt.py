"""One attempt of a task: its events, its retries, and the one transaction that it ends with."""

from __future__ import annotations

import pytest

from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.engine.run.directives import RunDirectives
from po_jupyter.engine.run.session import RunSession
from po_jupyter.engine.run.task_attempt import TaskAttempt, end_event
from po_jupyter.engine.state.decide import End, Start
from po_jupyter.errors import ModelKeyError, ModelRefused, ModelUnavailable
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.telemetry.redaction import Redactor
from tests.engine.run.test_executor import EMPTY, python
from tests.support.engine import RUN, Bench


def attempt(session: RunSession, task: str, number: int = 1, delay: float = 0.0) -> TaskAttempt:
    """An attempt that the executor would make."""
    session.signals.running.add(task)
    directives = RunDirectives(session.inputs, session.log, session.signals, PriceBook())
    return TaskAttempt(session, directives, Start(task, number, delay))


async def test_a_task_that_ends_while_another_runs_does_not_end_the_run(bench: Bench) -> None:
    bench.create([python("a", EMPTY, needs=[]), python("b", EMPTY, needs=[])])
    async with bench.worker() as session:
        session.signals.running.add("b")
        await attempt(session, "a").run()
        assert "run.done" not in bench.types()
        session.signals.running.remove("a")
        await attempt(session, "b").run()
    assert bench.types()[-2:] == ["task.done", "run.done"]
    assert bench.store.head(RUN)["holder"] is None


async def test_a_gate_of_the_last_task_is_opened_with_its_end_and_ends_no_run(bench: Bench) -> None:
    """B12, P2: no crash between the two leaves a task that nobody was asked about."""
    bench.create([python("a", EMPTY, gate={"message": "look", "artifacts": ["a.md"]})])
    async with bench.worker() as session:
        await attempt(session, "a").run()
    [record] = [r for r in bench.records() if any(e["type"] == "task.done" for e in r["events"])]
    done, opened = record["events"][-2:]
    assert (done["type"], opened["type"]) == ("task.done", "gate.opened")
    assert opened["data"] == {"message": "look", "artifacts": ["a.md"]}
    assert bench.store.head(RUN)["state"] != "done"


async def test_a_drain_before_the_attempts_turn_starts_nothing(bench: Bench) -> None:
    bench.create([python("a", EMPTY)])
    async with bench.worker() as session:
        session.signals.drain()
        for delay in (0.0, 60.0):
            with pytest.raises(Drained):
                await attempt(session, "a", delay=delay).run()
    assert "task.started" not in bench.types()


async def test_a_failure_says_which_task_and_attempt_and_holds_no_key(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P9, P11."""
    redactor = Redactor(["sk-secret-of-somebody"])
    monkeypatch.setattr("po_jupyter.engine.run.task_attempt.redactor", redactor)
    bench.create([python("a", "def integration(ctx):\n    raise ValueError('sk-secret-of-somebody')\n")])
    async with bench.worker() as session:
        await attempt(session, "a", 3).run()
    [failed] = bench.events("task.failed")
    assert failed["data"]["error"]["details"]["task"] == "a"
    assert failed["data"]["error"]["details"]["attempt"] == 3
    assert "sk-secret" not in str(bench.events())


def test_the_event_of_a_runs_end_has_its_reason() -> None:
    waiting = end_event(End("waiting", task="a"))
    assert (waiting["type"], waiting["data"]) == ("run.waiting", {"task_name": "a"})
    failed = end_event(End("failed", error={"code": "x"}))
    assert (failed["type"], failed["data"]) == ("run.failed", {"error": {"code": "x"}})
    assert end_event(End("done"))["data"] == {}


async def test_an_empty_task_is_one_durable_transaction(bench: Bench) -> None:
    """P2, R3.3: start, stages, output and the end of the run are one commit."""
    bench.create([python("a", EMPTY)])
    before = bench.store.head(RUN)["n"]
    assert await bench.go() == "done"
    assert bench.store.head(RUN)["n"] == before + 1
    assert bench.types() == [
        "run.created",
        "run.started",
        "task.started",
        "task.stage",
        "task.done",
        "run.done",
    ]


async def test_a_task_is_retried_and_each_attempt_is_an_event(bench: Bench, tmp_path: object) -> None:
    """P7: one layer of retries for tasks."""
    flag = bench.tmp / "tries"
    body = (
        "from pathlib import Path\n"
        f"P = Path({str(flag)!r})\n"
        "def integration(ctx):\n"
        "    n = int(P.read_text()) if P.exists() else 0\n"
        "    P.write_text(str(n + 1))\n"
        "    if n < 2:\n"
        "        raise ValueError('not yet')\n"
        "    return ctx.meta['attempt']\n"
    )
    bench.create([python("a", body, retry={"initial_delay": 0, "max_delay": 0})])
    assert await bench.go() == "done"
    assert bench.output("a") == 3
    retrying = bench.events("task.retrying")
    assert [e["data"]["attempt"] for e in retrying] == [1, 2]
    assert retrying[0]["data"]["error"]["details"]["stage"] == "integration"


@pytest.mark.parametrize(
    "error", [ModelRefused("400"), ModelKeyError("401"), ModelUnavailable("down")], ids=lambda e: e.code
)
async def test_a_model_error_is_not_retried_by_the_task(bench: Bench, error: Exception) -> None:
    """P7, DESIGN 7 Retries: permanent errors and calls whose retries are spent end the task."""
    bench.fake._replies = [error] * 9
    bench.create([{"name": "a", "prompt": "x", "llm": {"retry": {"max_attempts": 2, "initial_delay": 0}}}])
    assert await bench.go() == "failed"
    transient = isinstance(error, ModelUnavailable)
    assert len(bench.fake.requests) == (2 if transient else 1)
    assert len(bench.events("call.retry")) == (1 if transient else 0)
    assert "task.retrying" not in bench.types()
    assert bench.state.error is not None
    assert bench.state.error["code"] == error.code


async def test_retries_after_a_resume_are_counted_anew(bench: Bench) -> None:
    """DESIGN 7: a resume is a new attempt, with its retries before it."""
    bench.create(
        [
            python(
                "a",
                "def integration(ctx):\n    raise ValueError\n",
                retry={"max_attempts": 2, "initial_delay": 0},
            )
        ]
    )
    assert await bench.go() == "failed"
    bench.resume("a")
    assert await bench.go() == "failed"
    assert [e["data"]["attempt"] for e in bench.events("task.started")] == [1, 2, 3, 4]


async def test_the_end_of_the_run_is_in_the_last_tasks_transaction(bench: Bench) -> None:
    bench.create([{"name": "a", "prompt": "a"}, {"name": "b", "prompt": "b"}])
    assert await bench.go() == "done"
    last = bench.records()[-1]
    assert [e["type"] for e in last["events"]][-2:] == ["task.done", "run.done"]


async def test_a_fault_of_ours_fails_the_task_with_code_internal(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr("po_jupyter.engine.prompts.prompt_task.PromptTask.stages", broken)
    bench.create([{"name": "a", "prompt": "a"}])
    assert await bench.go() == "failed"
    error = bench.state.error
    assert error is not None
    assert error["code"] == "internal"
    assert "report" in error["hint"]
