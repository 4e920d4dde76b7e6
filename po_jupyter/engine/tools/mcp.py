"""Tools of MCP servers (G15), through the official SDK: only of servers that the setting `mcp_servers` names.

A server is started, or connected to, when a tool of it is first offered to a model, and closed when the worker
leaves the run. Each worker has its own; a resumed run starts them anew.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from importlib.util import find_spec
from typing import Any, TypeAlias

from po_jupyter.config import McpServer
from po_jupyter.engine.base.threads import OffLoop
from po_jupyter.engine.tools.toolbox import ToolRefusal
from po_jupyter.errors import InvalidInput, ToolFailed
from po_jupyter.llm.chat import Tool
from po_jupyter.llm.structured.parsing import answer_validator
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.values.json import JsonObject

_START = 30.0  # s until a server has answered
_CALL = 120.0  # s of one call; the stage's own timeout may be shorter
_STOP = 10.0
_LOST = (-32000, -32001)  # the SDK's own codes: connection closed, no answer in time

GetVariables: TypeAlias = Callable[[str], Awaitable[Mapping[str, str]]]
"""The variables of the environment that an MCP server may see, by the server's name."""


async def own_variables(server: str) -> Mapping[str, str]:
    """Those of this process, whatever the server."""
    return os.environ


def tool_name_problem(name: str, servers: Mapping[str, McpServer]) -> str | None:
    """The reason why a tool `server.tool` may not be used, in one line; None when the settings allow it."""
    server, dot, tool = name.partition(".")
    if not dot or not tool:
        return f"{name!r:.120} is not a tool: write server.tool, as in the setting `mcp_servers`"
    if server not in servers:
        server_list = f"there are: {', '.join(sorted(servers))}" if servers else "there are none"
        return (
            f"no MCP server is called {server!r}{did_you_mean(server, list(servers))} "
            f"(the setting `mcp_servers` allows them; {server_list})"
        )
    allowed = servers[server].tools
    if allowed is not None and tool not in allowed:
        return f"the setting `mcp_servers` allows no tool {tool!r} of {server}{did_you_mean(tool, allowed)}"
    return None


class McpTools:
    """The MCP servers of one worker. A `RemoteTools`."""

    def __init__(self, servers: Mapping[str, McpServer], variables: GetVariables = own_variables) -> None:
        """No server is started yet; `variables(name)` are those that a server's `env` names."""
        self._servers = servers
        self._variables = variables
        self._open: dict[str, asyncio.Future[_Server]] = {}
        self._lost: list[_Server] = []

    def check(self, name: str) -> None:
        """Check that the settings allow the tool. Raises InvalidInput."""
        if (problem := tool_name_problem(name, self._servers)) is not None:
            raise InvalidInput(problem)

    async def find(self, name: str) -> McpTool:
        """The tool, its server started. Raises InvalidInput, ToolFailed."""
        self.check(name)
        label, _, tool_name = name.partition(".")
        server = await self._server(label)
        listed = server.tools.get(tool_name)
        if listed is None:
            raise InvalidInput(
                f"the MCP server {label} has no tool {tool_name!r}{did_you_mean(tool_name, list(server.tools))}",
                hint=f"It has: {', '.join(server.tools)}.",
            )
        return McpTool(name, listed, server)

    async def _server(self, label: str) -> _Server:
        """The server, started once however many ask at the same time; one that failed is tried again."""
        started = self._open.get(label)
        if started is not None:
            broken = started.done() and (started.exception() is not None or not started.result().alive)
            if not broken:
                return await asyncio.shield(started)
            if started.exception() is None:
                self._lost.append(started.result())
        opening = asyncio.ensure_future(_Server.start(label, self._servers[label], self._variables))
        self._open[label] = opening
        return await asyncio.shield(opening)

    async def aclose(self) -> None:
        """End every server that was started."""
        lost_servers, self._lost = self._lost, []
        for server in lost_servers:
            await server.stop()
        opened, self._open = list(self._open.values()), {}
        for future in opened:
            try:
                await (await future).stop()
            except ToolFailed:
                continue  # it never started


class _Server:
    """One connection. It is opened and closed by the same asyncio task, as the SDK's cancel scopes demand."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.tools: JsonObject = {}
        self.client: Any = None
        self._end = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """True while the server's tools can be called."""
        return self._task is not None and not self._task.done() and not self._end.is_set()

    @classmethod
    async def start(cls, label: str, settings: McpServer, variables: GetVariables) -> _Server:
        """Start the server and read its list of tools. Raises ToolFailed."""
        if find_spec("mcp") is None:
            raise ToolFailed(
                "tools of MCP servers need the package `mcp` where the run works",
                hint='pip install "po_jupyter[mcp]"',
                details={"tool": label},
                permanent=True,
            )
        environ = await variables(label) if settings.env else {}
        server = cls(label)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        server._task = asyncio.create_task(server._serve(settings, environ, ready), name=f"mcp {label}")
        done, _ = await asyncio.wait({ready, server._task}, timeout=_START, return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and not ready.cancelled():
            return server
        reason = "it did not answer" if not done else _reason(server._task.exception())
        await server.stop()
        raise ToolFailed(
            f"the MCP server {label} did not start: {reason}",
            hint="What it says of itself is in the run's worker.log.",
            details={"tool": label},
        )

    async def _serve(
        self, settings: McpServer, environ: Mapping[str, str], ready: asyncio.Future[None]
    ) -> None:
        from mcp import Client, StdioServerParameters

        target: Any = settings.url
        if settings.command:
            env = {name: environ[name] for name in settings.env if name in environ}
            program, *arguments = settings.command
            target = StdioServerParameters(command=program, args=arguments, env=env)
        async with Client(target, read_timeout_seconds=_CALL) as client:
            cursor: str | None = None
            while True:
                page = await client.list_tools(cursor=cursor)
                self.tools |= {tool.name: tool for tool in page.tools}
                cursor = page.next_cursor
                if not cursor:
                    break
            self.client = client
            if not ready.done():
                ready.set_result(None)
            await self._end.wait()

    def mark_lost(self) -> None:
        """Note that the connection is gone: the next use starts the server anew."""
        self._end.set()

    async def stop(self) -> None:
        """Close the connection; a server that was started ends."""
        self._end.set()
        task = self._task
        if task is not None:
            await asyncio.wait({task}, timeout=_STOP)
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=_STOP)
            if task.done() and not task.cancelled():
                task.exception()  # looked at, or asyncio complains


class McpTool:
    """A tool of an MCP server; models know it as `server_tool`: names have no dots there. A `CallableTool`."""

    def __init__(self, name: str, listed: Any, server: _Server) -> None:
        """The tool `name`, as `server` listed it."""
        self._name = name
        self._remote = listed.name
        self._server = server
        self._schema = dict(listed.input_schema)
        self.tool = Tool(re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64], listed.description or "", self._schema)

    async def call(self, arguments: JsonObject, off_loop: OffLoop) -> str:
        """See `CallableTool`."""
        violations = answer_validator(self._schema).violations(arguments)
        if violations:
            raise ToolRefusal("; ".join(line.replace("answer", "arguments", 1) for line in violations))
        from mcp import MCPError

        try:
            result = await self._server.client.call_tool(self._remote, arguments)
        except MCPError as error:
            if error.code in _LOST:
                self._server.mark_lost()
                raise self._failed(error) from None
            raise ToolRefusal(error.message) from None
        except Exception as error:  # the transports raise what they like
            self._server.mark_lost()
            raise self._failed(error) from error
        text = "\n".join(map(_text, result.content))
        if not text and result.structured_content is not None:
            from pydantic_core import to_json

            text = to_json(result.structured_content).decode()
        if result.is_error:
            raise ToolRefusal(text or "the tool failed")
        return text

    def _failed(self, error: BaseException) -> ToolFailed:
        return ToolFailed(f"the tool {self._name} failed: {_reason(error)}", details={"tool": self._name})


def _text(block: Any) -> str:
    """A block of a result as text; a block of another kind is named, since a tool's turn holds text only."""
    text = getattr(block, "text", None)
    if isinstance(text, str):
        return text
    inner = getattr(getattr(block, "resource", None), "text", None)
    return inner if isinstance(inner, str) else f"[{getattr(block, 'type', 'something that is no text')}]"


def _reason(error: BaseException | None) -> str:
    """The first real reason in what may be a group of errors."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    if error is None:
        return "it ended"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:300] if text else type(error).__name__
