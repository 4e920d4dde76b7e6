"""What counts towards the timeout of a stage, and what does not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from po_jupyter.engine.base import deadline
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText
from po_jupyter.llm.providers.fake import FakeProvider
from tests.support.engine import Bench

FETCH = 0.6  # s; longer than the stages below may take


class Fetching(FakeProvider):
    """As the local provider in a worker: the first request waits until the weights are here."""

    here = False

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        with deadline.waiting():
            if not self.here:
                await asyncio.sleep(FETCH)
            self.here = True
        return await super().chat(request, on_text=on_text)


@pytest.mark.integration
async def test_fetching_the_weights_does_not_count_towards_the_stage(bench: Bench) -> None:
    """DESIGN 7: `timeout` is of the work of a stage; also of a sync stage, and of each row of a map."""
    tasks: list[dict[str, object]] = [
        {"name": "a", "prompt": "hello"},
        {"name": "a", "source": "def inference(ctx):\n    return ctx.llm.chat('hello').text\n"},
        {"name": "a", "source": "async def inference(ctx):\n    return (await ctx.llm.chat('hello')).text\n"},
        {"name": "a", "prompt": "{{ item }}", "for_each": "[1, 2, 3]"},
    ]
    for n, task in enumerate(tasks):
        one = Bench(bench.tmp / str(n))
        one.fake = Fetching()
        one.create([{**task, "timeout": FETCH / 2, "retry": {"max_attempts": 1}}])
        assert await one.go() == "done", one.state.error
        assert one.fake.here


async def test_outside_of_a_stage_nothing_waits_differently(tmp_path: Path) -> None:
    with deadline.waiting():
        await asyncio.sleep(0)


@pytest.mark.integration
async def test_a_stage_that_works_for_too_long_after_the_wait_is_over_time() -> None:
    """The time that was left before the wait is left after it, and no more."""
    loop = asyncio.get_running_loop()
    limit = deadline.Deadline(0.2)
    before = loop.time()
    try:
        async with limit:
            with deadline.waiting():
                await asyncio.sleep(0.3)
            await asyncio.sleep(10)
    except TimeoutError:
        pass
    assert limit.expired()
    assert 0.45 < loop.time() - before < 5
