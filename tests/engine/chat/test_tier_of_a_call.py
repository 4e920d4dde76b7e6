"""Service tiers on the way from a task, and from Python, to the wire and into the bill."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.engine.calls.attempt_calls import ModelSettings
from po_jupyter.engine.chat.chat_call import chat_call_of
from po_jupyter.errors import InvalidInput
from po_jupyter.llm.chat import ChatRequest
from po_jupyter.model.pipeline.pipeline import LLM


class Calls:
    """The requests that a call makes of settings."""

    def __init__(self, llm: LLM) -> None:
        self._settings = ModelSettings(llm, "fake:echo", Settings())

    def request(self, messages: Any, **fields: Any) -> ChatRequest:
        return self._settings.request(messages=messages, **{k: v for k, v in fields.items() if v is not None})


def test_the_tier_of_a_task_is_in_its_requests_and_an_option_wins_over_it() -> None:
    calls: Any = Calls(LLM(service_tier="flex"))
    assert chat_call_of(calls, "hi", {}).request.service_tier == "flex"
    assert chat_call_of(calls, "hi", {"service_tier": "standard"}).request.service_tier == "standard"
    assert chat_call_of(Calls(LLM()), "hi", {}).request.service_tier is None  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="service_tier"):
        chat_call_of(calls, "hi", {"service_tier": "turbo"})
