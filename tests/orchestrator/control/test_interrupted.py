"""What a resume pays for of a run that was interrupted and did not fail (B4): nothing that was answered."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.model.run.view import RunView
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.testing.model_server import ModelServer, Reply
from tests.support.orchestrator import orchestrator, wait_for_holder, wait_for_state

pytestmark = pytest.mark.integration

ASKS = """
async def integration(ctx):
    texts = [(await ctx.llm.chat(f"question {i}")).text for i in range(6)]
    return {"texts": texts, "attempt": ctx.meta["attempt"]}
"""
IN_ROWS = """
async def integration(ctx):
    return [(await ctx.llm.chat(f"row {ctx.item}, question {i}")).text for i in range(3)]
"""
SYNC = """
def integration(ctx):
    return [ctx.llm.chat(f"question {i}").text for i in range(6)]
"""
PARALLEL = """
async def integration(ctx):
    first = await ctx.llm.parallel([f"question {i}" for i in range(3)])
    second = await ctx.llm.parallel([f"question {i}" for i in range(3, 6)])
    return first.outputs + second.outputs
"""


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        yield server


def submission(task: dict[str, Any], **more: Any) -> dict[str, Any]:
    llm = {"model": "openai:gpt-4o-mini", "max_tokens": 50}
    return {
        "pipeline": {"name": "p", "llm": llm, "tasks": [{"name": "asks", **task}], **more},
        "seed": {"name": "s", "data": {"rows": [0, 1, 2]}},
    }


async def submitted(service: RunningOrchestrator, body: dict[str, Any]) -> str:
    return (await service.submissions.submit(body, owner="local"))[0].id


async def cancelled_at(service: RunningOrchestrator, model: ModelServer, run: str, calls: int) -> RunView:
    """The run, cancelled while its last call is in flight and the others are answered; and what it says then."""
    await asyncio.to_thread(model.wait_for, calls)
    await asyncio.sleep(0.3)
    await service.control.cancel(run, None)
    view = await wait_for_state(service, run)
    assert view.state == "cancelled"
    return view


def leave_unanswered(model: ModelServer, answered: int) -> None:
    """Answer so many calls at once, the next one never."""
    model.enqueue(*(["fine"] * answered), Reply("late", latency=60))


@pytest.mark.parametrize("source", [ASKS, SYNC], ids=["async", "sync"])
async def test_a_cancelled_python_task_pays_for_no_answered_call_again(
    tmp_path: Path, model: ModelServer, source: str
) -> None:
    leave_unanswered(model, 3)
    async with orchestrator(tmp_path, cancel_timeout=2.0) as service:
        run = await submitted(service, submission({"source": source}))
        view = await cancelled_at(service, model, run, 4)
        assert (view.usage.calls, view.usage.unknown) == (4, 1)
        await service.control.resume(run, None)
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert Counter(r.prompt for r in model.requests) == {
            f"question {i}": 2 if i == 3 else 1 for i in range(6)
        }
        assert model.paid_twice() == []
        assert (view.usage.calls, view.usage.unknown) == (7, 1), "six answers and the one that was lost"
        usage = await service.maintenance.usage(None, days=1)
        assert (usage["total"]["calls"], usage["total"]["unknown"]) == (7, 1)


async def test_the_attempt_after_a_cancel_is_a_new_one_for_the_code(tmp_path: Path, model: ModelServer) -> None:
    leave_unanswered(model, 3)
    async with orchestrator(tmp_path) as service:
        run = await submitted(service, submission({"source": ASKS}))
        await cancelled_at(service, model, run, 4)
        await service.control.resume(run, None)
        await wait_for_state(service, run)
        assert (await service.results.outputs(run, None))["asks"]["attempt"] == 2


async def test_cancelled_twice_and_then_killed_it_still_pays_once(tmp_path: Path, model: ModelServer) -> None:
    model.enqueue("fine", "fine", Reply("late", latency=60), "fine", Reply("late", latency=60), "fine")
    async with orchestrator(tmp_path) as service:
        run = await submitted(service, submission({"source": ASKS}))
        await cancelled_at(service, model, run, 3)
        await service.control.resume(run, None)
        await cancelled_at(service, model, run, 5)
        model.hold()
        await service.control.resume(run, None)
        await asyncio.to_thread(model.wait_for, 6)
        os.kill(await wait_for_holder(tmp_path, run), signal.SIGKILL)
        await asyncio.sleep(0.5)
        model.release()
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert model.paid_twice() == []
        assert view.usage.unknown == 3
        assert view.usage.calls == 9


async def test_calls_side_by_side_replay_after_a_cancel(tmp_path: Path, model: ModelServer) -> None:
    leave_unanswered(model, 4)
    async with orchestrator(tmp_path) as service:
        run = await submitted(service, submission({"source": PARALLEL}))
        await cancelled_at(service, model, run, 5)
        await service.control.resume(run, None)
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert model.paid_twice() == []


async def test_rows_that_were_cancelled_between_two_calls_replay_the_first(
    tmp_path: Path, model: ModelServer
) -> None:
    """Done rows stay done, and what an interrupted row used counts once."""
    leave_unanswered(model, 5)
    async with orchestrator(tmp_path) as service:
        rows = {"source": IN_ROWS, "for_each": "{{ seed.rows }}", "max_concurrency": 1}
        run = await submitted(service, submission(rows))
        view = await cancelled_at(service, model, run, 6)
        assert (view.usage.calls, view.usage.unknown) == (6, 1)
        assert view.tasks[0].items is not None and view.tasks[0].items.done == 1
        await service.control.resume(run, None)
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert model.paid_twice() == []
        assert len(model.requests) == 10
        assert (view.usage.calls, view.usage.unknown) == (10, 1)
        usage = await service.maintenance.usage(None, days=1)
        assert (usage["total"]["calls"], usage["total"]["unknown"]) == (10, 1)


async def test_failed_rows_of_a_cancelled_map_are_asked_anew(tmp_path: Path, model: ModelServer) -> None:
    """The same resume: what failed asks again, what was interrupted replays."""
    model.enqueue(Reply(status=400), "fine", "fine", Reply("late", latency=60))
    async with orchestrator(tmp_path) as service:
        rows = {
            "source": IN_ROWS, "for_each": "{{ seed.rows }}", "max_concurrency": 1, "retry": {"max_attempts": 1}
        }  # fmt: skip
        run = await submitted(service, submission(rows))
        await cancelled_at(service, model, run, 4)
        await service.control.resume(run, None)
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert [row["ok"] for row in (await service.results.outputs(run, None))["asks"]] == [True] * 3
        asked = Counter(r.prompt for r in model.requests)
        assert asked == {
            f"row {row}, question {i}": 1 + ((row, i) in [(0, 0), (1, 2)]) for row in range(3) for i in range(3)
        }
        calls, _ = await service.results.calls(run, None, limit=100)
        answers = Counter(call["key"] for call in calls if call["kind"] == "response")
        assert max(answers.values()) == 1, "P3: no key has two answers"


async def test_a_larger_budget_pays_for_no_answered_call_again(tmp_path: Path, model: ModelServer) -> None:
    """A budget that ran out is no failure of the task."""
    async with orchestrator(tmp_path) as service:
        run = await submitted(
            service, submission({"source": ASKS, "retry": {"max_attempts": 1}}, budget={"tokens": 66})
        )
        view = await wait_for_state(service, run)
        assert view.error is not None and view.error["code"] == "budget_exceeded"
        before = len(model.requests)
        assert 0 < before < 6
        await service.control.resume(run, None, budget={"tokens": 10_000})
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert len(model.requests) == 6 and model.paid_twice() == []
        assert (view.usage.calls, view.usage.unknown) == (6, 0)


async def test_rows_that_a_budget_interrupted_replay_their_answers(tmp_path: Path, model: ModelServer) -> None:
    async with orchestrator(tmp_path) as service:
        rows = {"source": IN_ROWS, "for_each": "{{ seed.rows }}", "max_concurrency": 2}
        run = await submitted(service, submission(rows, budget={"tokens": 73}))
        view = await wait_for_state(service, run)
        assert view.error is not None and view.error["code"] == "budget_exceeded"
        before = len(model.requests)
        assert 0 < before < 9
        assert view.usage.calls == before
        await service.control.resume(run, None, budget={"tokens": 10_000})
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert len(model.requests) == 9 and model.paid_twice() == []
        assert (view.usage.calls, view.usage.unknown) == (9, 0)


@pytest.mark.parametrize("task", [{}, {"source": IN_ROWS, "for_each": "{{ seed.rows }}", "max_concurrency": 1}])
async def test_a_key_that_was_refused_pays_for_no_answered_call_again(
    tmp_path: Path, model: ModelServer, task: dict[str, Any]
) -> None:
    """With another key the call that was refused is made, and no other."""
    model.enqueue(*["fine"] * 4, Reply(status=401))
    async with orchestrator(tmp_path) as service:
        run = await submitted(service, submission({"source": ASKS, **task}))
        view = await wait_for_state(service, run)
        assert view.error is not None and view.error["code"] == "model_key"
        await service.control.resume(run, None)
        view = await wait_for_state(service, run)
        assert view.state == "done"
        calls = 9 if task else 6
        assert len(model.requests) == calls + 1
        assert (view.usage.calls, view.usage.unknown) == (calls + 1, 0)


async def test_an_answer_that_came_before_code_that_was_cancelled_is_kept(
    tmp_path: Path, model: ModelServer
) -> None:
    """Cancelled in the stage after its answer, and in the second attempt."""
    source = """
import asyncio

async def inference(ctx):
    return (await ctx.llm.chat("one")).text

async def integration(ctx):
    if ctx.meta["attempt"] == 1:
        raise ValueError("once")
    if ctx.meta["attempt"] == 2:
        await asyncio.sleep(30)
    return "done"
"""
    retry = {"max_attempts": 3, "initial_delay": 0.01, "max_delay": 0.01}
    async with orchestrator(tmp_path) as service:
        run = await submitted(service, submission({"source": source, "retry": retry}))
        await cancelled_at(service, model, run, 2)
        await service.control.resume(run, None)
        view = await wait_for_state(service, run)
        assert (view.state, view.error) == ("done", None)
        assert len(model.requests) == 2, "the first attempt failed and was made anew; the second was cancelled"


async def test_a_dead_run_that_is_requeued_pays_for_no_answered_call_again(
    tmp_path: Path, model: ModelServer
) -> None:
    leave_unanswered(model, 3)
    async with orchestrator(tmp_path, max_crashes=1) as service:
        run = await submitted(service, submission({"source": ASKS}))
        await asyncio.to_thread(model.wait_for, 4)
        await asyncio.sleep(0.3)
        os.kill(await wait_for_holder(tmp_path, run), signal.SIGKILL)
        assert (await wait_for_state(service, run)).state == "dead"
        await service.control.requeue(run, None)
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert model.paid_twice() == []
        assert (view.usage.calls, view.usage.unknown) == (7, 1)


@pytest.mark.parametrize("how", ["restart", "from_task"])
async def test_who_asks_for_it_anew_gets_new_answers(tmp_path: Path, model: ModelServer, how: str) -> None:
    leave_unanswered(model, 3)
    async with orchestrator(tmp_path) as service:
        run = await submitted(service, submission({"source": ASKS}))
        await cancelled_at(service, model, run, 4)
        if how == "restart":
            await service.control.restart(run, None)
        else:
            await service.control.resume(run, None, from_task="asks")
        assert (await wait_for_state(service, run)).state == "done"
        assert len(model.requests) == 4 + 6


async def test_a_task_that_failed_asks_anew(tmp_path: Path, model: ModelServer) -> None:
    model.enqueue("fine", Reply(status=400))
    async with orchestrator(tmp_path) as service:
        run = await submitted(service, submission({"source": ASKS}))
        assert (await wait_for_state(service, run)).state == "failed"
        await service.control.resume(run, None)
        assert (await wait_for_state(service, run)).state == "done"
        assert len(model.requests) == 2 + 6
