"""A chain: a conversation that remembers its turns, in a stage of a run and by itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from po_jupyter.engine.chat.chain import Chain
from po_jupyter.engine.chat.chat_call import ChatCall
from po_jupyter.engine.chat.starter import CallStarter
from po_jupyter.errors import InvalidInput, ModelUnavailable
from po_jupyter.llm.chat import Message
from po_jupyter.model.run.answer import Answer
from tests.engine.chat.test_chat_call import Calls
from tests.engine.chat.test_task_llm import output, task
from tests.support.engine import Bench


class Model:
    """Answers with the number of turns it got; fails while `down`, waits at `gate` when there is one."""

    def __init__(self) -> None:
        self.calls: list[ChatCall] = []
        self.down = False
        self.gate: asyncio.Event | None = None

    async def converse(self, call: ChatCall) -> tuple[Answer, tuple[Message, ...]]:
        self.calls.append(call)
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise ModelUnavailable("down")
        turns = call.request.messages
        return Answer(str(len(turns))), (*turns, Message("assistant", str(len(turns))))

    def chain(self, messages: Any = (), **options: Any) -> Chain:
        calls: Any = Calls()
        return Chain(CallStarter(), calls, self.converse, messages, options)


async def test_the_model_gets_every_turn_before_and_a_calls_own_options() -> None:
    model = Model()
    chain = model.chain(system="be brief", max_tokens=5)
    assert (await chain.ask("one")).text == "2"
    assert (await chain.ask("two", max_tokens=6)).text == "4"
    assert [(m["role"], m["content"]) for m in chain.messages] == [
        ("system", "be brief"), ("user", "one"), ("assistant", "2"), ("user", "two"), ("assistant", "4"),
    ]  # fmt: skip
    assert [call.request.max_tokens for call in model.calls] == [5, 6]
    again = model.chain(chain.messages)
    assert (await again.ask("three")).text == "6"


async def test_a_call_that_fails_leaves_the_chain_as_it_was() -> None:
    model = Model()
    chain = model.chain()
    await chain.ask("one")
    before, model.down = chain.messages, True
    with pytest.raises(ModelUnavailable):
        await chain.ask("two")
    assert chain.messages == before
    model.down = False
    assert (await chain.ask("two")).text == "3", "and it may be asked again"


async def test_two_questions_at_once_are_refused() -> None:
    """Which of them the model heard first, nobody could say."""
    model = Model()
    model.gate = asyncio.Event()
    chain = model.chain()
    first = asyncio.ensure_future(chain.ask("one"))
    await asyncio.sleep(0)
    with pytest.raises(InvalidInput, match="already"):
        await chain.ask("two")
    model.gate.set()
    await first
    assert [m["content"] for m in chain.messages] == ["one", "1"]


async def test_the_system_message_is_the_chains_and_is_there_once() -> None:
    model = Model()
    with pytest.raises(InvalidInput, match="already"):
        model.chain([{"role": "system", "content": "x"}], system="y")
    with pytest.raises(InvalidInput, match="`system` is text"):
        model.chain(system=1)
    with pytest.raises(InvalidInput, match="belongs to the chain"):
        model.chain().ask("one", system="y")
    assert model.calls == []


async def test_a_chain_goes_on_from_the_messages_of_another_and_a_failure_leaves_it(bench: Bench) -> None:
    code = """
async def ingestion(ctx):
    chain = ctx.llm.chain()
    await chain.ask("one")
    return chain.messages
async def inference(ctx):
    chain = ctx.llm.chain(messages=ctx.output)
    try:
        await chain.ask("bad", model="fake:other")
    except Exception as error:
        before = len(chain.messages)
    await chain.ask("two")
    return [before, [m["content"] for m in chain.messages]]
"""
    bench.create([task(code)])
    assert await output(bench) == [2, ["one", "echo: one", "two", "echo: two"]]
