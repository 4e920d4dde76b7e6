"""A chat call of a stage, from prompt and options to the answer: images read, tools called, JSON checked.

    prompt + options ──► ChatCall (checked, nothing sent) ──► request ──► answer
                                                                ▲  │ tool calls: call them, send the results
                                                                └──┘ JSON that does not fit: ask again

Every request on the way is a call of its own in the journal. After a crash the same steps are made again: recorded
calls are answered by the journal, and tools in between run a second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from pydantic import ValidationError

from po_jupyter.engine.chat.tool_loop import run_tool_loop
from po_jupyter.engine.files.images import load_images
from po_jupyter.engine.ports import ArtifactReader, CallFrame, ModelCalls, ToolCaller
from po_jupyter.errors import AnswerUnreadable, InvalidInput, OutputInvalid
from po_jupyter.llm.chat import CacheMode, ChatRequest, Effort, Message, OnText, ServiceTier, ToolCall
from po_jupyter.llm.structured.parsing import answer_validator, parse_json, readable_text, reask, speakable
from po_jupyter.model.pipeline.answer_schema import AnswerSchema, answer_schema_of
from po_jupyter.model.pipeline.pipeline import LLM, CallRetry
from po_jupyter.model.pipeline.violations import did_you_mean, violations_of
from po_jupyter.model.run.answer import Answer
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.json import JsonValue

MAX_TOOL_ROUNDS = 8


class ChatOptions(TypedDict, total=False):
    """The options of a call. What is left out, or None, comes from the task's and pipeline's `llm`.

    system           the system message
    model            a model ref; it wins over the run's `--model`, which wins over the task and the pipeline
    schema           a JSON Schema, pydantic model, dataclass or TypedDict: the answer's `value` fits it, and is an
                     instance where a class was given
    json             any JSON: it is the answer's `value`
    temperature, max_tokens, max_thinking_tokens, stop, seed, effort, service_tier   as in `llm:`
    images           of the last turn: bytes, data: and https: URLs, names of artifacts, paths
    files            PDFs and sounds of the last turn, from the same places as images
    tools            Python functions, and `"server.tool"` of the setting `mcp_servers`
    cache            whether an earlier run's answer to the same will do: True, False or "refresh", as a task's `cache`
    max_tool_rounds  how often in a row tools may be called (default 8)
    """

    system: str | None
    model: str | None
    schema: Any
    json: bool
    temperature: float | None
    max_tokens: int | None
    max_thinking_tokens: int | None
    stop: Sequence[str] | str | None
    seed: int | None
    effort: Effort | None
    service_tier: ServiceTier | None
    images: Sequence[Any] | None
    files: Sequence[Any] | None
    tools: Sequence[Callable[..., Any] | str] | None
    cache: CacheMode | None
    max_tool_rounds: int


_NAMES = tuple(ChatOptions.__annotations__)
_SETTINGS = (
    "model", "temperature", "max_tokens", "max_thinking_tokens", "stop", "seed", "effort", "service_tier",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A checked call; nothing of it was read, called or sent yet. `rounds`: of tools, at most."""

    request: ChatRequest
    answer_schema: AnswerSchema | None = None
    images: tuple[Any, ...] = ()
    tools: ToolCaller | None = None
    rounds: int = MAX_TOOL_ROUNDS
    files: tuple[Any, ...] = ()


def check_option_names(options: Mapping[str, JsonValue]) -> None:
    """Check the names of options. Raises InvalidInput with a suggestion."""
    for name in options:
        if name not in _NAMES:
            raise InvalidInput(
                f"`{name}` is not a field of a request{did_you_mean(name, _NAMES)}",
                hint=f"Fields: prompt or messages, {', '.join(_NAMES)}.",
            )


def chat_call_of(calls: ModelCalls, prompt: object, options: Mapping[str, JsonValue]) -> ChatCall:
    """The call that `chat(prompt, **options)` makes. Raises InvalidInput."""
    check_option_names(options)
    settings = {k: v for k in _SETTINGS if (v := options.get(k)) is not None}
    try:
        checked = LLM.model_validate(settings)
    except ValidationError as error:
        raise InvalidInput(violations=violations_of(error, known=_NAMES, what="a request")) from None
    rounds = options.get("max_tool_rounds")
    rounds = MAX_TOOL_ROUNDS if rounds is None else rounds
    if type(rounds) is not int or not 1 <= rounds <= 100:
        raise InvalidInput(f"`max_tool_rounds` is a whole number from 1 to 100, not {rounds!r:.40}")
    cache = options.get("cache")
    if not (cache is None or isinstance(cache, bool) or cache == "refresh"):
        raise InvalidInput(f"`cache` is True, False or 'refresh', not {cache!r:.40}")
    messages = list(messages_of(prompt))
    system = options.get("system")
    if system is not None:
        if not isinstance(system, str):
            raise InvalidInput(f"`system` is text, not {type(system).__name__}")
        messages.insert(0, Message("system", system))
    schema, images, tools = (
        options.get("schema"),
        _list_option(options, "images"),
        _list_option(options, "tools"),
    )
    files = _list_option(options, "files")
    for name, found in (("images", images), ("files", files)):
        if found and messages[-1].role != "user":
            raise InvalidInput(f"`{name}` belong to the user's turn, and the last message is none")
    answer_schema = None if schema is None else answer_schema_of(schema)
    request = calls.request(
        tuple(messages),
        **{name: getattr(checked, name) for name in settings},
        schema=None if answer_schema is None else dict(answer_schema.schema),
        json=True if options.get("json") else None,
        cache=cache,
    )
    if images:
        calls.need_images(request)
    if files:
        calls.need_files(request)
    toolbox = calls.toolbox(tools) if tools else None
    return ChatCall(request, answer_schema, tuple(images), toolbox, rounds, tuple(files))


def _list_option(options: Mapping[str, object], name: str) -> Sequence[object]:
    """An option that is a list; an empty one when it was left out. Raises InvalidInput."""
    value = options.get(name)
    if value is None:
        return ()
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
        raise InvalidInput(f"`{name}` is a list, not {type(value).__name__}")
    return value


def messages_of(prompt: object) -> tuple[Message, ...]:
    """The turns of a prompt: one of the user's, or those of a list. Raises InvalidInput."""
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    if not isinstance(prompt, list | tuple) or not prompt:
        kind = "an empty list" if isinstance(prompt, list | tuple) else type(prompt).__name__
        raise InvalidInput(f"a prompt is text or a list of messages, not {kind}")
    return tuple(map(_message, prompt))


def _message(turn: Any) -> Message:
    if not isinstance(turn, Mapping):
        raise InvalidInput(f"a message is {{role, content}}, not {type(turn).__name__}")
    role, content = turn.get("role"), turn.get("content")
    if role not in ("system", "user", "assistant", "tool") or not isinstance(content, str):
        raise InvalidInput(
            "a message is {role, content} with role system, user or assistant; "
            f"this one is {dict(turn)!r:.120}"
        )
    try:
        from po_jupyter.llm.audio import file_from_json
        from po_jupyter.llm.messages import Image

        return Message(
            role,
            content,
            images=tuple(Image(i["data"], i["mime"]) for i in turn.get("images") or ()),
            tool_calls=tuple(
                ToolCall(c["id"], c["name"], c["arguments"]) for c in turn.get("tool_calls") or ()
            ),
            tool_call_id=str(turn.get("tool_call_id") or ""),
            carry=turn.get("carry"),
            files=tuple(file_from_json(file) for file in turn.get("files") or ()),
        )
    except (KeyError, TypeError):
        raise InvalidInput(
            f"this message is not one that a chain remembered: {dict(turn)!r:.120}",
            hint="`images` are [{mime, data}], `files` [{mime, data, pages or seconds}], "
            "`tool_calls` [{id, name, arguments}].",
        ) from None


async def run_chat_call(
    calls: ModelCalls,
    call: ChatCall,
    *,
    stage: str,
    frame: CallFrame,
    files: ArtifactReader,
    stream: bool = False,
    retry: CallRetry | None = None,
    on_text: OnText | None = None,
) -> tuple[Answer, tuple[Message, ...]]:
    """Make the call: its answer, and the turns of the whole conversation without answers that did not fit.

    `on_text` gets the text as it comes, and "" where it begins anew. Raises a ModelError, OutputInvalid,
    AnswerUnreadable, ToolFailed, or ToolLoop when `max_tool_rounds` are used up.
    """
    request = call.request
    if call.images:
        *before, last = request.messages
        images = await load_images(call.images, files)
        request = replace(request, messages=(*before, replace(last, images=(*last.images, *images))))
    if call.files:
        from po_jupyter.engine.files.documents import load_documents

        *before, last = request.messages
        documents = await load_documents(call.files, files)
        request = replace(request, messages=(*before, replace(last, files=(*last.files, *documents))))
        calls.need_files(request)
    conversation = request.messages
    usage = Usage()
    reasks = 0
    while True:
        result = await run_tool_loop(
            calls, request, call.tools, call.rounds,
            stage=stage, frame=frame, stream=stream, retry=retry, on_text=on_text,
        )  # fmt: skip
        response = result.response
        usage = usage + result.usage
        request = request.then(*result.turns)
        conversation = (*conversation, *result.turns)
        try:
            value = await _read_value(call, response.text)
        except (AnswerUnreadable, OutputInvalid) as problem:
            if reasks >= frame.task.refine.max_attempts:
                raise
            reasks += 1
            violations = problem.violations if isinstance(problem, OutputInvalid) else []
            request = calls.follow_up(request, response, reask(violations or [problem.message]))
            if on_text is not None:
                on_text("")
            continue
        return Answer(speakable(response.text), value, usage, response.model), (*conversation, response.message)


async def _read_value(call: ChatCall, text: str) -> Any:
    """`read_value`, in a thread where patterns are matched: that may take long."""
    if call.answer_schema is not None and answer_validator(call.answer_schema.schema).may_be_slow:
        return await asyncio.to_thread(read_value, call, text)
    return read_value(call, text)


def read_value(call: ChatCall, text: str) -> Any:
    """The value in an answer; None where no JSON was requested. Raises AnswerUnreadable, OutputInvalid."""
    if call.answer_schema is None:
        if call.request.json:
            return parse_json(text)
        readable_text(text)
        return None
    validator = answer_validator(call.answer_schema.schema)
    if call.answer_schema.adapter is not None:
        validator = validator.with_check(call.answer_schema.violations)
    value, violations = validator.read(text)
    if violations:
        raise OutputInvalid(violations[0], details={"violations": violations})
    return call.answer_schema.typed(value)
