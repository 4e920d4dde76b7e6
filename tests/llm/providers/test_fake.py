"""The provider without a model."""

import json

import pytest

from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.fake import FakeProvider


def ask(model="fake:echo", text="hi", **more):
    return ChatRequest(model, (Message("user", text),), **more)


async def test_the_fake_is_deterministic_streams_and_fails_on_demand():
    fake = FakeProvider()
    pieces = []
    first = await fake.chat(ask(text="a b"), on_text=pieces.append)
    assert (first.text, pieces) == ("echo: a b", ["echo:", " a", " b"])
    assert first.usage == (await fake.chat(ask(text="a b"))).usage and first.usage.cost == 0.0
    assert json.loads((await fake.chat(ask(schema={"enum": ["x"]}))).text) == "x"
    for _ in range(2):
        with pytest.raises(ModelUnavailable):
            await fake.chat(ask("fake:echo?fail=2"))
    assert (await fake.chat(ask("fake:echo?fail=2"))).text == "echo: hi"
    assert (await fake.chat(ask("fake:echo?latency=0.01"))).seconds == 0.01
    for wrong in ("fake:nope", "fake:echo?speed=1", "fake:echo?latency=x"):
        with pytest.raises(ModelRefused):
            await fake.chat(ask(wrong))
