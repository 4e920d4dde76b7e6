"""Tools of MCP servers (G15): real servers, and one tool over a connection that is answered here."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.config import McpServer
from po_jupyter.engine.tools.mcp import McpTool, McpTools
from po_jupyter.engine.tools.toolbox import ToolRefusal
from po_jupyter.errors import InvalidInput, ToolFailed
from tests.support.paths import TESTS

SERVER = str(TESTS / "support" / "mcp_server.py")


@pytest.fixture
def over_http() -> Iterator[dict[str, McpServer]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, SERVER, str(port)], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield {"remote": McpServer(url=f"http://127.0.0.1:{port}/mcp")}
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.integration
async def test_an_mcp_server_over_http(over_http: dict[str, McpServer]) -> None:
    """G15: streamable HTTP."""
    tools = McpTools(over_http)
    try:
        found = await tools.find("remote.add")
        assert await found.call({"a": 1, "b": 2}, None) == "3"
    finally:
        await tools.aclose()


@pytest.mark.integration
async def test_a_server_that_dies_or_never_starts_is_one_clear_error(stdio: dict[str, McpServer]) -> None:
    """G15, P11: and the next call starts it again."""
    tools = McpTools({**stdio, "none": McpServer(command=("/nonexistent/program",))})
    try:
        with pytest.raises(ToolFailed, match="the MCP server none did not start"):
            await tools.find("none.x")
        died = await tools.find("files.die")
        with pytest.raises(ToolFailed, match=r"the tool files\.die failed"):
            await died.call({}, None)
        again = await tools.find("files.add")
        assert await again.call({"a": 1, "b": 2}, None) == "3"
    finally:
        await tools.aclose()


@pytest.mark.integration
async def test_an_mcp_server_sees_its_own_variables_alone(
    stdio: dict[str, McpServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """C5: they are not in the worker's environment but fetched for the server, by its name."""
    monkeypatch.setenv("OTHER_TOKEN", "of the worker")
    asked = []

    async def variables(server: str) -> dict[str, str]:
        asked.append(server)
        return {"FILES_TOKEN": "of the server", "NOT_NAMED": "x"}

    tools = McpTools({"files": stdio["files"].model_copy(update={"env": ("FILES_TOKEN",)})}, variables)
    try:
        environ = await tools.find("files.environ")
        for name, value in (("FILES_TOKEN", "of the server"), ("NOT_NAMED", "unset"), ("OTHER_TOKEN", "unset")):
            assert await environ.call({"name": name}, None) == value
    finally:
        await tools.aclose()
    assert asked == ["files"]


async def test_only_what_the_settings_allow(stdio: dict[str, McpServer]) -> None:
    """G15: an allow-list of servers, and of tools where it says so; asked before anything is started."""
    only = {"files": stdio["files"].model_copy(update={"tools": ("add",)})}
    tools = McpTools(only)
    for name, words in [("file.add", "did you mean `files`?"), ("files.die", "allows no tool 'die'")]:
        with pytest.raises(InvalidInput, match="mcp_servers") as caught:
            tools.check(name)
        assert words in caught.value.message


# -- one tool ---------------------------------------------------------------------------------------------
class Connection:
    """A server with one tool, which gives `result` or raises it; `lost` once the connection is."""

    def __init__(self, result: Any) -> None:
        self.result = result
        self.called: list[tuple[str, Any]] = []
        self.lost = False
        self.client = self

    async def call_tool(self, name: str, arguments: Any) -> Any:
        self.called.append((name, arguments))
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def mark_lost(self) -> None:
        self.lost = True

    def tool(self, name: str = "files.read", **schema: Any) -> McpTool:
        server: Any = self
        listed = SimpleNamespace(name=name.partition(".")[2], description=None, input_schema=schema)
        return McpTool(name, listed, server)


def result(*blocks: Any, is_error: bool = False, structured: Any = None) -> Any:
    return SimpleNamespace(content=list(blocks), is_error=is_error, structured_content=structured)


def text(text: str) -> Any:
    return SimpleNamespace(type="text", text=text)


async def call(tool: McpTool, **arguments: Any) -> str:
    return await tool.call(arguments, None)


def test_a_model_knows_a_tool_by_a_name_that_providers_take() -> None:
    tool = Connection(None).tool("my files.read/all" + "x" * 80)
    assert tool.tool.name.startswith("my_files_read_all")
    assert len(tool.tool.name) == 64
    assert tool.tool.description == ""


async def test_arguments_that_do_not_fit_go_back_to_the_model_and_not_to_the_server() -> None:
    """P6."""
    server = Connection(result(text("x")))
    tool = server.tool(type="object", required=["path"], properties={"path": {"type": "string"}})
    with pytest.raises(ToolRefusal, match="path"):
        await call(tool)
    assert server.called == []
    assert await call(tool, path="a") == "x"
    assert server.called == [("read", {"path": "a"})]


@pytest.mark.parametrize(
    ("answered", "shown"),
    [
        (result(text("one"), text("two")), "one\ntwo"),
        (result(SimpleNamespace(type="resource", resource=SimpleNamespace(text="inner"))), "inner"),
        (result(SimpleNamespace(type="image", data="...")), "[image]"),
        (result(structured={"n": 1}), '{"n":1}'),
        (result(text("text"), structured={"n": 1}), "text"),
        (result(), ""),
    ],
)
async def test_a_result_is_text_of_whatever_the_server_sent(answered: Any, shown: str) -> None:
    assert await call(Connection(answered).tool()) == shown


async def test_an_error_of_the_tool_goes_to_the_model_and_a_lost_connection_fails_the_stage() -> None:
    """P11: the model can mend its question; it cannot mend a server."""
    from mcp import MCPError

    failed = Connection(result(text("no such file"), is_error=True))
    with pytest.raises(ToolRefusal, match="no such file"):
        await call(failed.tool())
    refused = Connection(MCPError(-32602, "no such path"))
    with pytest.raises(ToolRefusal, match="no such path"):
        await call(refused.tool())
    assert not (failed.lost or refused.lost)
    for lost in (Connection(MCPError(-32000, "closed")), Connection(OSError("broken pipe"))):
        with pytest.raises(ToolFailed, match=r"the tool files\.read failed") as caught:
            await call(lost.tool())
        assert lost.lost, "the next use starts the server anew"
        assert caught.value.details["tool"] == "files.read"
    grouped = Connection(ExceptionGroup("many", [ConnectionResetError("reset by peer")]))
    with pytest.raises(ToolFailed, match="ConnectionResetError: reset by peer"):
        await call(grouped.tool())


def test_a_name_that_is_no_tool_is_explained() -> None:
    """P11."""
    for servers, name, shown in (({}, "add", "write server.tool"), ({}, "a.b", "there are none")):
        with pytest.raises(InvalidInput, match=shown):
            McpTools(servers).check(name)
