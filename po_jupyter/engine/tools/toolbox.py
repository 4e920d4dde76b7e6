"""Tools that a model may ask to be called: Python functions, and tools of MCP servers that the settings allow.

What the model wrote is checked before anything runs (P6): a name that was not offered, or arguments that do not
fit, go back to the model as the tool's error. An exception of a function fails the stage (ToolFailed): a bug must
not end as a line in a conversation. A function returns what the model should know.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, to_json

from po_jupyter.engine.base.threads import OffLoop
from po_jupyter.engine.base.tracebacks import user_traceback
from po_jupyter.errors import InvalidInput, PoError, ToolFailed
from po_jupyter.llm.chat import Message, Tool, ToolCall
from po_jupyter.model.pipeline.violations import did_you_mean, violations_of
from po_jupyter.model.values.json import JsonObject

_ARGS = re.compile(r"^(?:Args|Arguments|Parameters):?[ \t]*\n(?:-+\n)?", re.M)
_ARG = re.compile(r"^[ \t]+\*{0,2}(\w+)[ \t]*(?:\([^)]*\))?:[ \t]*(.+)$", re.M)


class CallableTool(Protocol):
    """A tool that can be called."""

    tool: Tool

    async def call(self, arguments: JsonObject, off_loop: OffLoop) -> str:
        """The result as text. Raises Refused for what goes back to the model, ToolFailed."""
        ...


class RemoteTools(Protocol):
    """A source of tools that are no functions (`tools.mcp.McpTools`)."""

    def check(self, name: str) -> None:
        """Check that the tool may be used. Raises InvalidInput."""
        ...

    async def find(self, name: str) -> CallableTool:
        """The tool `server.tool`. Raises InvalidInput, ToolFailed."""
        ...


class ToolRefusal(Exception):
    """A call that is refused: its message goes back to the model instead of a result."""


class FunctionTool:
    """A Python function as a tool; signature and docstring become its description. A `CallableTool`."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        """The tool of `fn`. Raises InvalidInput for a function that cannot be one."""
        self.fn = fn
        name = getattr(fn, "__name__", type(fn).__name__)
        try:
            self._parameters = inspect.signature(fn).parameters
            hints = typing.get_type_hints(inspect.unwrap(fn), include_extras=True)
        except (TypeError, ValueError, NameError) as error:
            raise InvalidInput(f"{name!r} cannot be a tool: {error}", hint=_HINT) from None
        text = inspect.getdoc(fn) or ""
        described = dict(_ARG.findall(text[section.end() :])) if (section := _ARGS.search(text)) else {}
        fields: JsonObject = {}
        for i, (argument, parameter) in enumerate(self._parameters.items()):
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise InvalidInput(f"the tool {name!r} takes *{argument}; name its arguments", hint=_HINT)
            default = ... if parameter.default is parameter.empty else parameter.default
            extra = {"description": described[argument]} if argument in described else {}
            # Under names of our own: an argument may be called like a method of pydantic's.
            fields[f"a{i}"] = (Annotated[hints.get(argument, Any), Field(alias=argument, **extra)], default)
        try:
            self._model: type[BaseModel] = create_model(
                "arguments", __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields
            )
            schema = self._model.model_json_schema()
        except (PydanticUserError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InvalidInput(f"the arguments of the tool {name!r} are not JSON: {reason:.200}") from None
        for part in (schema, *schema.get("properties", {}).values()):
            part.pop("title", None)
        about = (text[: section.start()] if section else text).strip()
        self.tool = Tool(name, about, {"properties": {}, **schema})

    async def call(self, arguments: JsonObject, off_loop: OffLoop) -> str:
        """See `CallableTool`."""
        try:
            values = self._model.model_validate(arguments)
        except ValidationError as error:
            violations = violations_of(error, known=tuple(self._parameters), what=f"the tool {self.tool.name}")
            raise ToolRefusal("; ".join(v.message for v in violations[:20])) from None
        positional: list[Any] = []
        kwargs: JsonObject = {}
        for i, (argument, parameter) in enumerate(self._parameters.items()):
            value = getattr(values, f"a{i}")
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(value)
            else:
                kwargs[argument] = value
        try:
            if inspect.iscoroutinefunction(self.fn):
                result = await self.fn(*positional, **kwargs)
            else:
                result = await off_loop(lambda: self.fn(*positional, **kwargs))
                result = await result if inspect.isawaitable(result) else result
        except PoError:
            raise
        except Exception as error:
            text = str(error).strip()
            raise ToolFailed(
                f"the tool {self.tool.name!r} raised {type(error).__name__}"
                + (f": {text[:500]}" if text else ""),
                hint="What the model should hear of, a tool returns; what it raises fails the stage.",
                details={
                    "tool": self.tool.name,
                    "exception": type(error).__name__,
                    "traceback": user_traceback(error),
                },
            ) from error
        if isinstance(result, str):
            return result
        try:
            return to_json(result).decode()
        except (PydanticSerializationError, ValueError) as error:
            raise ToolFailed(
                f"the tool {self.tool.name!r} returned something that is not JSON: {error!s:.200}",
                details={"tool": self.tool.name},
                permanent=True,
            ) from None


_HINT = (
    "A tool is a function whose arguments have names and types: def price(sku: str, pieces: int = 1) -> float"
)


@lru_cache(maxsize=256)
def function_tool(fn: Callable[..., Any]) -> FunctionTool:
    """The tool that a function is. Raises InvalidInput."""
    return FunctionTool(fn)


class Toolbox:
    """The tools of one question. `off_loop` runs sync functions in a thread."""

    def __init__(self, tools: Sequence[object], off_loop: OffLoop, remote: RemoteTools) -> None:
        """The tools `tools`: functions, and names of `remote` tools. Raises InvalidInput."""
        self._off_loop = off_loop
        self._remote = remote
        self._tools: dict[str, CallableTool] = {}
        self._names: list[str] = []
        for tool in tools:
            if isinstance(tool, str):
                self._names.append(tool)
            elif callable(tool):
                self._add(_tool_of_function(tool))
            else:
                raise InvalidInput(f"a tool is a function or a name, not {tool!r:.80}", hint=_HINT)
        for name in self._names:
            remote.check(name)

    def _add(self, tool: CallableTool) -> None:
        name = tool.tool.name
        if name in self._tools:
            raise InvalidInput(f"two tools are called {name!r}: the model could not tell them apart")
        self._tools[name] = tool

    async def offered(self) -> tuple[Tool, ...]:
        """The tools as a model sees them. Raises InvalidInput, ToolFailed (an MCP server that does not start)."""
        while self._names:
            self._add(await self._remote.find(self._names[0]))
            del self._names[0]
        return tuple(tool.tool for tool in self._tools.values())

    async def answer(self, call: ToolCall) -> Message:
        """Call a tool that the model wants called: the turn with its result. Raises ToolFailed."""
        tool = self._tools.get(call.name)
        try:
            if tool is None:
                names = list(self._tools)
                raise ToolRefusal(
                    f"there is no tool {call.name:.64}{did_you_mean(call.name, names)} (there are: {', '.join(names)})"
                )
            text = await tool.call(dict(call.arguments), self._off_loop)
        except ToolRefusal as error:
            text = f"error: {error}"
        return Message("tool", text, tool_call_id=call.id)


def _tool_of_function(fn: Callable[..., Any]) -> FunctionTool:
    try:
        return function_tool(fn)
    except TypeError:  # a callable that cannot be hashed
        return FunctionTool(fn)
