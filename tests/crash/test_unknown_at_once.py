"""B5: what nobody knows of is said at once, the same everywhere: not only when the call is made again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.model.run.view import RunView
from po_jupyter.orchestrator.service import RunningOrchestrator
from po_jupyter.presentation import format as fmt
from po_jupyter.testing.model_server import ModelServer, Reply
from tests.support.orchestrator import Server, orchestrator, wait_for_holder, wait_for_state

OPEN = 10  # calls in flight at a kill
BLOCKS = """
import asyncio, time

async def integration(ctx):
    call = asyncio.ensure_future(ctx.llm.chat("x"))
    await asyncio.sleep(0.3)
    time.sleep(30)
"""
ASKS_TWICE = """
async def integration(ctx):
    return [(await ctx.llm.chat(f"{question} {ctx.item}")).text for question in "ab"]
"""


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", server.key)
        yield server


def wide(rows: int = 30, **more: Any) -> dict[str, Any]:
    """A map with ten calls in flight, whose rows ask twice each when their first answer does not do."""
    task = {"name": "rows", "prompt": "row {{ item }}", "for_each": "{{ seed.rows }}", "max_concurrency": OPEN}
    llm = {"model": "openai:gpt-4o-mini", "max_tokens": 50}
    return {
        "pipeline": {"name": "wide", "llm": llm, "tasks": [{**task, **more.pop("task", {})}], **more},
        "seed": {"name": "s", "data": {"rows": list(range(rows))}},
    }


async def submitted(service: RunningOrchestrator, body: dict[str, Any]) -> str:
    return (await service.submissions.submit(body, owner="local"))[0].id


async def killed_with_calls_in_flight(data_dir: Path, model: ModelServer, run: str) -> None:
    await asyncio.to_thread(model.wait_for, OPEN)
    await asyncio.sleep(0.3)
    os.kill(await wait_for_holder(data_dir, run), signal.SIGKILL)


async def same_everywhere(service: RunningOrchestrator, view: RunView) -> int:
    """The number of unknown outcomes that run, `po status`, widget and `po usage` say."""
    unknown = view.usage.unknown
    assert sum(t.usage.unknown for t in view.tasks) == unknown
    usage = await service.maintenance.usage(None, days=1)
    assert (usage["total"]["unknown"], usage["total"]["calls"]) == (unknown, view.usage.calls)
    assert (f"{unknown} calls of unknown outcome" in " ".join(fmt.usage_parts(view.usage))) == (unknown > 1)
    return unknown


async def test_a_budget_spent_on_lost_calls_says_so_and_every_sum_has_them(
    tmp_path: Path, model: ModelServer
) -> None:
    model.hold()
    async with orchestrator(tmp_path) as service:
        run = await submitted(service, wide(budget={"tokens": 60 * OPEN}))
        await killed_with_calls_in_flight(tmp_path, model, run)
        view = await wait_for_state(service, run)
        assert view.state == "failed" and view.error is not None
        assert await same_everywhere(service, view) == OPEN
        message = view.error["message"]
        assert "is spent: 0 used, " in message, message
        assert "only reserved for 10 calls of unknown outcome, and the next call could take" in message
        assert view.error["details"]["reserved"]["calls"] == OPEN


async def test_a_day_that_is_spent_on_lost_calls_says_so_in_every_run(
    tmp_path: Path, model: ModelServer
) -> None:
    model.hold()
    async with orchestrator(tmp_path, daily_tokens=60 * OPEN, max_crashes=1) as service:
        run = await submitted(service, wide())
        await killed_with_calls_in_flight(tmp_path, model, run)
        view = await wait_for_state(service, run)
        assert (view.state, view.usage.unknown) == ("dead", OPEN)
        model.release()
        for other in (run, await submitted(service, wide())):
            if other == run:
                await service.control.requeue(run, None)
            view = await wait_for_state(service, other)
            assert view.state == "failed" and view.error is not None
            message = view.error["message"]
            assert "tokens a day is spent: 0 used since 00:00 UTC by all of local's runs, " in message, message
            assert "only reserved for 10 calls of unknown outcome, and the next call could take" in message
            assert view.error["details"]["reserved"]["calls"] == OPEN


async def test_a_dead_run_says_it(tmp_path: Path, model: ModelServer) -> None:
    model.hold()
    async with orchestrator(tmp_path, max_crashes=1) as service:
        run = await submitted(service, wide())
        await killed_with_calls_in_flight(tmp_path, model, run)
        view = await wait_for_state(service, run)
        assert view.state == "dead"
        assert await same_everywhere(service, view) == OPEN


async def test_a_run_says_it_before_its_next_worker_sends_anything(tmp_path: Path, model: ModelServer) -> None:
    """And once: the calls that are made again count as themselves."""
    model.hold()
    async with orchestrator(tmp_path) as service:
        run = await submitted(service, wide())
        await killed_with_calls_in_flight(tmp_path, model, run)
        await asyncio.to_thread(model.wait_for, 2 * OPEN)
        view = await service.runs.get(run, None)
        assert view.state == "running"
        assert await same_everywhere(service, view) == OPEN
        model.release()
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert await same_everywhere(service, view) == OPEN
        assert view.usage.calls == 30 + OPEN


async def test_a_machine_that_went_down_says_it_at_the_next_start(tmp_path: Path, model: ModelServer) -> None:
    model.hold()
    server = Server(tmp_path)
    run = server.submit(wide())
    await asyncio.to_thread(model.wait_for, OPEN)
    await asyncio.sleep(0.3)
    server.process.send_signal(signal.SIGSTOP)
    os.kill(await wait_for_holder(tmp_path, run), signal.SIGKILL)
    server.kill()
    async with orchestrator(tmp_path, max_running=1) as service:
        view = await service.runs.get(run, None)
        while view.usage.unknown == 0:
            await asyncio.sleep(0.05)
            view = await service.runs.get(run, None)
        assert await same_everywhere(service, view) == OPEN
        assert len(model.requests) == OPEN or view.usage.unknown == OPEN
        model.release()
        assert (await wait_for_state(service, run)).usage.unknown == OPEN


async def test_a_cancel_that_had_to_kill_says_it(tmp_path: Path, model: ModelServer) -> None:
    block = BLOCKS
    model.hold()
    async with orchestrator(tmp_path, cancel_timeout=0.5) as service:
        run = await submitted(service, wide(task={"prompt": None, "for_each": None, "source": block}))
        await asyncio.to_thread(model.wait_for, 1)
        await asyncio.sleep(0.5)
        await service.control.cancel(run, None)
        view = await wait_for_state(service, run)
        assert view.state == "cancelled"
        assert await same_everywhere(service, view) == 1


async def test_a_stage_that_timed_out_in_a_call_says_it_while_the_run_goes_on(
    tmp_path: Path, model: ModelServer
) -> None:
    ask = "async def integration(ctx):\n    return (await ctx.llm.chat('x')).text\n"
    model.enqueue(Reply("late", latency=60))
    model.enqueue(Reply("late", latency=60))
    async with orchestrator(tmp_path) as service:
        slow = {
            "prompt": None, "for_each": None, "source": ask, "timeout": 1,
            "retry": {"max_attempts": 2, "initial_delay": 0.01, "max_delay": 0.01},
        }  # fmt: skip
        run = await submitted(service, wide(task=slow))
        await asyncio.to_thread(model.wait_for, 2)
        view = await service.runs.get(run, None)
        assert await same_everywhere(service, view) == 1
        view = await wait_for_state(service, run)
        assert await same_everywhere(service, view) == 2


async def test_rows_with_answers_but_no_outcome_count_in_a_dead_run(tmp_path: Path, model: ModelServer) -> None:
    """What was answered was paid for, whether or not its row came to an end."""
    twice = ASKS_TWICE
    answered = OPEN // 2
    model.enqueue(*["fine"] * answered, *[Reply("late", latency=60)] * answered)
    async with orchestrator(tmp_path, max_crashes=1) as service:
        run = await submitted(
            service, wide(task={"prompt": None, "source": twice, "max_concurrency": answered})
        )
        await killed_with_calls_in_flight(tmp_path, model, run)
        view = await wait_for_state(service, run)
        assert view.state == "dead"
        assert view.usage.calls == OPEN
        assert await same_everywhere(service, view) == answered
        await service.control.requeue(run, None)
        view = await wait_for_state(service, run)
        assert view.state == "done"
        assert view.usage.calls == 2 * 30 + answered
        assert await same_everywhere(service, view) == answered
