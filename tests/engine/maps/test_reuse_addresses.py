"""Rows are taken over only where their models would be asked at the same address: another server is another model."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.engine.run.executor import RunExecutor
from po_jupyter.llm.chat import ChatRequest, ChatResponse
from tests.engine.maps.test_reuse import PROMPT, Again
from tests.support.engine import new_run

ONE, TWO = "https://one.example/v1", "https://two.example/v1"
CODE = "async def inference(ctx):\n    return (await ctx.llm.chat(ctx.item['text'])).text\n"
MORE = "    await ctx.llm.chat('more')\n    return answer\n"
PYTHON = {"name": "m", "source": CODE, "for_each": "{{ seed.rows }}"}


@pytest.fixture
def again(tmp_path: Path) -> Again:
    again = Again(tmp_path)
    again.base_url = ONE
    return again


def rows_of(again: Again) -> list[Any]:
    return [item for record in again.records() for item in record["items"]]


@pytest.mark.parametrize("task", [PROMPT, PYTHON], ids=["prompt", "python"])
async def test_rows_that_another_server_answered_are_asked_again(again: Again, task: dict[str, Any]) -> None:
    """The same ref behind another OPENAI_BASE_URL is another vendor's model: its answers are not this one's."""
    await again.run_it(task)
    again.base_url = TWO
    await again.run_it(task)
    assert again.calls == 16 and again.reused == 0
    await again.run_it(task)
    assert again.calls == 16 and again.reused == 8, "of the run at this address"
    again.base_url = ONE
    await again.run_it(task)
    assert again.calls == 16 and again.reused == 8, "the run at the first address is still there"


async def test_a_copied_row_keeps_the_address_that_it_came_from(again: Again) -> None:
    await again.run_it(PROMPT)
    await again.run_it(PROMPT)
    again.store.delete_run(f"0193f000000{1:011x}")
    again.base_url = TWO
    await again.run_it(PROMPT)
    assert again.calls == 16 and again.reused == 0


async def test_rows_of_versions_that_kept_no_address_are_still_paid_for_once(again: Again) -> None:
    again.base_url = ""
    await again.run_it(PROMPT)
    assert not any("looked" in row for row in rows_of(again)), "as those versions wrote it"
    again.base_url = ONE
    await again.run_it(PROMPT)
    assert again.calls == 8 and again.reused == 8


async def test_rows_that_ask_no_model_do_not_depend_on_an_address(again: Again) -> None:
    task = {**PYTHON, "source": "def inference(ctx):\n    return ctx.item['text'].upper()\n"}
    await again.run_it(task)
    again.base_url = TWO
    await again.run_it(task)
    assert again.reused == 8


async def test_an_answer_that_replays_after_a_crash_counts_for_the_address_that_gave_it(again: Again) -> None:
    """The answer came from the first server; the worker that finishes the row has another one set."""
    task = {**PYTHON, "source": CODE.replace("return (", "answer = (") + MORE}
    data = {"rows": [{"text": "a"}]}
    again.run = f"0193f000000{0xAAAA:011x}"
    new_run(again.store, {"name": "p", "llm": {"model": "fake:echo"}, "tasks": [task]}, data, again.run)
    chat, asked = again.fake.chat, asyncio.Event()

    async def first_alone(request: ChatRequest, **more: Any) -> ChatResponse:
        if request.messages[-1].content == "more":
            asked.set()
            await asyncio.Event().wait()
        return await chat(request, **more)

    again.fake.chat = first_alone
    async with again.worker() as session:
        going = asyncio.ensure_future(RunExecutor(session).run())
        async with asyncio.timeout(10):
            await asked.wait()
        await session.log.flush()
        session.log.abandon()
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
    again.fake.chat = chat
    again.base_url = TWO
    assert await again.go() == "done"
    assert again.fake.prompts == ["a", "more"], "the first answer replays"
    await again.run_it(task, data)
    assert again.reused == 0 and again.fake.prompts == ["a", "more", "a", "more"]


async def test_the_address_itself_is_not_written(again: Again) -> None:
    """It may hold a password."""
    again.base_url = "https://me:secret-word@one.example/v1"
    await again.run_it(PROMPT)
    assert all(row["looked"].keys() == {"models.fake:echo"} for row in rows_of(again))
    assert "secret-word" not in str(again.records())
