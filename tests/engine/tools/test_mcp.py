"""Tools of MCP servers (G15): real servers, and one tool over a connection that is answered here."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from po_jupyter.config import McpServer
from po_jupyter.engine.tools.mcp import McpTools
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
        assert await found.call({"a": 1, "b": 2}, None) == "3"  # type: ignore[arg-type]  # nothing to run here
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
            await died.call({}, None)  # type: ignore[arg-type]  # nothing to run here
        again = await tools.find("files.add")
        assert await again.call({"a": 1, "b": 2}, None) == "3"  # type: ignore[arg-type]  # likewise
    finally:
        await tools.aclose()


async def test_only_what_the_settings_allow(stdio: dict[str, McpServer]) -> None:
    """G15: an allow-list of servers, and of tools where it says so; asked before anything is started."""
    only = {"files": stdio["files"].model_copy(update={"tools": ("add",)})}
    tools = McpTools(only)
    for name, words in [("file.add", "did you mean `files`?"), ("files.die", "allows no tool 'die'")]:
        with pytest.raises(InvalidInput, match="mcp_servers") as caught:
            tools.check(name)
        assert words in caught.value.message
