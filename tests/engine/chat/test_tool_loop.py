"""The tool loop over model calls that are answered here."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.engine.chat.tool_loop import run_tool_loop
from po_jupyter.errors import ToolLoop
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message, Tool, ToolCall
from po_jupyter.model.run.usage import Usage

REQUEST = ChatRequest("fake:echo", (Message("user", "how much?"),))
CALL = ToolCall("1", "price", {"sku": "a"})
USED = Usage(input_tokens=1, calls=1)


class Calls:
    """Answers with `responses`, one after the other."""

    def __init__(self, *responses: ChatResponse) -> None:
        self.responses = list(responses)
        self.requests: list[ChatRequest] = []

    async def chat(self, request: ChatRequest, **options: Any) -> ChatResponse:
        self.requests.append(request)
        return self.responses.pop(0)


class Tools:
    async def offered(self) -> tuple[Tool, ...]:
        return (Tool("price", "", {"type": "object"}),)

    async def answer(self, call: ToolCall) -> Message:
        return Message("tool", "5", tool_call_id=call.id)


def wants() -> ChatResponse:
    return ChatResponse("", USED, "fake:echo", tool_calls=(CALL,))


async def loop(calls: Calls, tools: Tools | None, rounds: int) -> Any:
    model_calls: Any = calls
    frame: Any = None
    return await run_tool_loop(model_calls, REQUEST, tools, rounds, stage="inference", frame=frame)


async def test_results_are_sent_back_until_the_model_answers() -> None:
    calls = Calls(wants(), ChatResponse("five", USED, "fake:echo"))
    result = await loop(calls, Tools(), 2)
    assert (result.response.text, result.usage) == ("five", USED + USED)
    assert [turn.role for turn in result.turns] == ["assistant", "tool"]
    assert calls.requests[1].messages == (*REQUEST.messages, *result.turns)
    assert [tool.name for tool in calls.requests[0].tools] == ["price"]


async def test_a_model_that_calls_tools_for_ever_is_stopped() -> None:
    calls = Calls(*(wants() for _ in range(9)))
    with pytest.raises(ToolLoop, match="after 2 rounds"):
        await loop(calls, Tools(), 2)
    assert len(calls.requests) == 3


async def test_tools_that_were_not_offered_are_not_called() -> None:
    with pytest.raises(ToolLoop, match="none were offered"):
        await loop(Calls(wants()), None, 2)
