"""A budget stops what would be sent: not what was answered already, and not a row that only waits its turn."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from po_jupyter.engine.calls.journal import StoreJournal
from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.errors import StaleFence
from tests.support.engine import Bench

CALLS = "async def ingestion(ctx):\n    answer = await ctx.llm.chat('one')\n    return answer.text\n"
MODEL = {"model": "fake:echo", "max_tokens": 60}


async def test_an_answer_that_was_paid_for_needs_no_room_in_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3, P12: after a crash the journal answers; what it answers with is in the budget already."""
    bench = Bench(tmp_path).create([{"name": "a", "source": CALLS}], budget={"tokens": 70}, llm=MODEL)
    response = StoreJournal.response

    async def recorded(self: StoreJournal, *args: object) -> None:
        await response(self, *args)
        await self._log.flush()
        raise StaleFence("this process is dead")

    with monkeypatch.context() as dying:
        dying.setattr(StoreJournal, "response", recorded)
        with pytest.raises(StaleFence):
            async with bench.worker() as session:
                await RunExecutor(session).run()
    used = bench.events("call.done")[0]["data"]["usage"]
    assert used["input_tokens"] + used["output_tokens"] + 60 > 70, "a second call would not fit"
    assert await bench.go() == "done", bench.state.error
    assert len(bench.fake.requests) == 1


@pytest.mark.integration
async def test_waiting_for_the_budget_is_not_the_stages_time(tmp_path: Path) -> None:
    """DESIGN, Budgets: reservations shrink concurrency before they stop a run; no row fails of that."""
    rows = {
        "name": "m", "prompt": "row {{ item }}", "for_each": "[1, 2, 3]", "max_concurrency": 3, "timeout": 0.5,
        "retry": {"max_attempts": 1},
    }  # fmt: skip
    bench = Bench(tmp_path).create([rows], budget={"tokens": 110}, llm=MODEL)
    chat = bench.fake.chat

    async def slow(*args: object, **named: object) -> object:
        await asyncio.sleep(0.3)
        return await chat(*args, **named)

    bench.fake.chat = slow
    assert await bench.go() == "done", bench.state.error
    assert [row["ok"] for row in bench.output("m")] == [True, True, True]
