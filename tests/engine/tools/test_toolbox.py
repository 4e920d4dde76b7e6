"""Tools of a call: described by their code, called with checked arguments, refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from po_jupyter.engine.tools.toolbox import FunctionTool, Toolbox, ToolRefusal
from po_jupyter.errors import InvalidInput, ToolFailed
from po_jupyter.llm.chat import Tool, ToolCall


def price(sku: str, pieces: int = 1) -> float:
    """The price of an article.

    Args:
        sku: its number
        pieces: how many
    """
    return 2.5 * pieces


class NoRemote:
    def check(self, name: str) -> None:
        raise InvalidInput(f"no {name}")

    async def find(self, name: str) -> Any:
        raise AssertionError


async def here(fn: Callable[..., Any], *args: Any) -> Any:
    return fn(*args)


def test_a_function_is_described_by_its_signature_and_docstring() -> None:
    tool = FunctionTool(price).tool
    assert (tool.name, tool.description) == ("price", "The price of an article.")
    assert tool.parameters["properties"]["pieces"] == {
        "default": 1,
        "description": "how many",
        "type": "integer",
    }
    assert tool.parameters["required"] == ["sku"]


@pytest.mark.parametrize("fn", [lambda *args: 1, lambda **fields: 1, print])
def test_functions_without_named_arguments_are_no_tools(fn: Callable[..., Any]) -> None:
    with pytest.raises(InvalidInput):
        FunctionTool(fn)


async def test_arguments_are_checked_before_the_function_runs() -> None:
    tool = FunctionTool(price)
    assert await tool.call({"sku": "a", "pieces": 2}, here) == "5.0"
    for wrong in ({}, {"sku": "a", "extra": 1}, {"sku": "a", "pieces": "many"}):
        with pytest.raises(ToolRefusal):
            await tool.call(wrong, here)


async def test_an_exception_fails_the_stage_and_a_result_must_be_json() -> None:
    def broken() -> None:
        raise ValueError("a bug")

    def odd() -> object:
        return object()

    for fn, message in ((broken, "raised ValueError: a bug"), (odd, "not JSON")):
        with pytest.raises(ToolFailed, match=message):
            await FunctionTool(fn).call({}, here)


async def test_a_tool_that_was_not_offered_is_an_error_for_the_model() -> None:
    toolbox = Toolbox([price], here, NoRemote())
    (offered,) = await toolbox.offered()
    assert isinstance(offered, Tool)
    turn = await toolbox.answer(ToolCall("1", "prise", {}))
    assert turn.tool_call_id == "1"
    assert "there is no tool prise" in turn.content
    assert "price" in turn.content
    assert (await toolbox.answer(ToolCall("2", "price", {"sku": "a"}))).content == "2.5"


@pytest.mark.parametrize("tools", [[price, price], [3], ["server.tool"]])
def test_tools_that_cannot_be_offered(tools: list[Any]) -> None:
    with pytest.raises(InvalidInput):
        Toolbox(tools, here, NoRemote())
