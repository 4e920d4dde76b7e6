"""The tool loop: a model is called, then the tools that it wants called, until it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from po_jupyter.engine.ports import CallFrame, ModelCalls, ToolCaller
from po_jupyter.errors import ToolLoop
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message, OnText, ToolCall
from po_jupyter.model.pipeline.pipeline import CallRetry
from po_jupyter.model.run.usage import Usage


class ToolLoopResult(NamedTuple):
    """A response that wants no tools called, the turns that led to it, and the usage of all of it."""

    response: ChatResponse
    turns: tuple[Message, ...]
    usage: Usage


async def run_tool_loop(
    calls: ModelCalls,
    request: ChatRequest,
    tools: ToolCaller | None,
    rounds: int,
    *,
    stage: str,
    frame: CallFrame,
    stream: bool = False,
    retry: CallRetry | None = None,
    on_text: OnText | None = None,
) -> ToolLoopResult:
    """Call the model, and the tools that it wants called, until it answers; keywords as in `ModelCalls.chat`.

    Raises a ModelError, ToolFailed, or ToolLoop after `rounds` of tools.
    """
    if tools is not None:
        request = replace(request, tools=await tools.offered())
    turns: tuple[Message, ...] = ()
    usage = Usage()
    for done in range(rounds + 1):
        response = await calls.chat(
            request.then(*turns), stage=stage, frame=frame, stream=stream, retry=retry, on_text=on_text
        )
        usage = usage + response.usage
        if not response.tool_calls:
            return ToolLoopResult(response, turns, usage)
        if tools is None or done == rounds:
            raise _tool_loop_error(response.tool_calls, done)
        results = [await tools.answer(call) for call in response.tool_calls]
        turns = (*turns, response.message, *results)
    raise AssertionError("the last round returns or raises")


def _tool_loop_error(calls: Sequence[ToolCall], rounds: int) -> ToolLoop:
    names = ", ".join(dict.fromkeys(f"{call.name:.64}" for call in calls))
    if not rounds:
        return ToolLoop(f"the model wants tools called ({names}), and none were offered")
    return ToolLoop(
        f"the model wants tools called ({names}) after {rounds} rounds of them, and gave no answer",
        hint="Give it a larger `max_tool_rounds`, or say in the prompt when to stop.",
        details={"rounds": rounds},
    )
