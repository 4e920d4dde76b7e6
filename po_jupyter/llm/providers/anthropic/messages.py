"""The wire of Anthropic's Messages API: request bodies and responses.

Reference: platform.claude.com/docs/en/api/messages and .../build-with-claude/streaming, structured-outputs,
adaptive-thinking, extended-thinking.

* System messages go into `system`, wherever they stand.
* `max_tokens` is required: 4,096 for the answer when a request sets none. It bounds thinking and answer together.
* A JSON Schema is enforced (`output_config.format`) on models from 4.5 on, as far as the API can; where it
  cannot, and for JSON without a schema, the instruction is text.
* Thinking, asked for by `effort`: adaptive from 4.6 on, with `output_config.effort`; a budget of tokens before.
  Thinking blocks are signed; with tool calls they are carried and go
  back.
* No temperature with thinking, and none at all from 4.7 on: those models refuse it. There is no seed.
* What the rows of a map have in common is marked for the cache (`Message.shared`).
* `input_tokens` on the wire leaves out what came from the cache or went into it; ours has it all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from po_jupyter.llm.audio import documents_in
from po_jupyter.llm.bounds import output_limit, thinking_room
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.money.service_tiers import wire_tier
from po_jupyter.llm.structured.dialects import JSON_ONLY, anthropic_schema, schema_as_text, with_turn
from po_jupyter.llm.wire.ends import end_of
from po_jupyter.llm.wire.json_fields import as_text, mapping_at, mappings_in
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.llm.wire.stop_sequences import StopCutter
from po_jupyter.llm.wire.usage import anthropic_usage
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.json import JsonObject

VERSION = "2023-06-01"
MAX_TOKENS = 4096
_MODEL = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_NEWEST = (99, 0)
_SMALLEST_PREFIX = 3000  # characters; the vendor caches nothing below 1,024 tokens
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32000, "max": 32000}
_SMALLEST_BUDGET = 1024
_TIERS = {"standard": "standard_only", "priority": "auto"}


def version_of(model: str) -> tuple[int, int]:
    """(4, 5) for `claude-haiku-4-5-20251001`, (3, 5) for `claude-3-5-sonnet`, wherever in the name that stands.

    A Claude without a version (`claude-mythos-preview`) counts as the newest: the first ones all say theirs. Another
    maker's model behind this API counts as an old one.
    """
    if match := _MODEL.search(model):
        return int(match[1]), int(match[2] or 0)
    return _NEWEST if "claude-" in model and "claude-instant" not in model else (3, 0)


def request_body(request: ChatRequest, *, stream: bool, provider: str = "anthropic") -> JsonObject:
    """The JSON body of a Messages request."""
    version = version_of(request.model_name)
    bounded = request if request.max_tokens else replace(request, max_tokens=MAX_TOKENS)
    body: JsonObject = {"model": request.model_name, "max_tokens": output_limit(bounded)}
    messages = with_turn(request.messages)
    system = [m.content for m in messages if m.role == "system"]
    output: JsonObject = {}
    if request.schema is not None:
        enforced, lossy = anthropic_schema(request.schema) if version >= (4, 5) else (None, True)
        if enforced is not None:
            output["format"] = {"type": "json_schema", "schema": enforced}
        if lossy:
            system.append(schema_as_text(request.schema))
    elif request.json:
        system.append(JSON_ONLY)
    marked = cache_mark(messages, request)
    if system:
        text = "\n\n".join(system)
        body["system"] = [_text_block(text, mark=True)] if marked == _SYSTEM else text
    body["messages"] = _turns(messages, provider, marked)
    thinks = add_thinking(body, output, request, version)
    if request.temperature is not None and not thinks and version < (4, 7):
        body["temperature"] = min(request.temperature, 1.0)
    if stops := [stop for stop in request.stop if stop.strip()]:
        body["stop_sequences"] = stops
    if request.tools:
        _add_tools(body, request)
    if output:
        body["output_config"] = output
    if (tier := wire_tier(request, _TIERS)) is not None:
        body["service_tier"] = tier
    if stream:
        body["stream"] = True
    return body


def _add_tools(body: JsonObject, request: ChatRequest) -> None:
    body["tools"] = [
        {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
        for tool in request.tools
    ]
    if request.tool_choice:
        body["tool_choice"] = _tool_choice(request.tool_choice)


def add_thinking(body: JsonObject, output: JsonObject, request: ChatRequest, version: tuple[int, int]) -> bool:
    """Ask for thinking, or for none; True when the model will think."""
    effort = request.effort
    if effort is None or version < (3, 7):
        return version >= (5, 0)  # they think by default
    if effort == "none":
        if version >= (5, 0):
            body["thinking"] = {"type": "disabled"}
        return False
    if version >= (4, 6):
        body["thinking"] = {"type": "adaptive"}
        level = "low" if effort == "minimal" else effort
        output["effort"] = "high" if level == "xhigh" and version < (4, 7) else level
        return True
    budget = max(min(_BUDGETS[effort], thinking_room(request)), _SMALLEST_BUDGET)
    body["max_tokens"] = max(body["max_tokens"], budget + 1)  # the API wants room behind the thoughts
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    return True


_SYSTEM = -1


def cache_mark(messages: tuple[Message, ...], request: ChatRequest) -> int | None:
    """The place of the one mark for the vendor's cache: the index of a message, `_SYSTEM`, or None.

    Everything before a mark is cached with it, tools first, then the system, then the turns. So it stands where the
    common part of many requests ends; too little of it is not worth one.
    """
    systems = [message for message in messages if message.role == "system"]
    if any(message.shared < len(message.content) for message in systems):
        return None
    size = sum(message.shared for message in messages)
    if size < _SMALLEST_PREFIX:
        return None
    place = _SYSTEM if systems else None
    for n, message in enumerate(messages):
        if message.role == "system":
            continue
        if (
            message.images
            or message.files
            or message.tool_calls
            or message.carry is not None
            or message.role == "tool"
        ):
            break
        whole = message.shared == len(message.content)
        if message.shared and (whole or message.content[message.shared :].strip()):
            place = n
        if not whole:
            break
    return place


def _text_block(text: str, *, mark: bool = False) -> JsonObject:
    block: JsonObject = {"type": "text", "text": text}
    if mark:
        block["cache_control"] = {"type": "ephemeral"}
    return block


def _turns(messages: tuple[Message, ...], provider: str, marked: int | None = None) -> list[JsonObject]:
    """The `messages` of a body: without system messages, the results of one turn's tools in one message."""
    turns: list[JsonObject] = []
    for n, message in enumerate(messages):
        if message.role == "system":
            continue
        if n == marked:
            parts = (message.content[: message.shared], message.content[message.shared :])
            blocks = [
                _text_block(text, mark=first) for first, text in zip((True, False), parts, strict=True) if text
            ]
            turns.append({"role": message.role, "content": blocks})
            continue
        if message.role == "tool":
            result = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}
            # The results of one turn's calls belong into one message.
            if turns and turns[-1]["role"] == "user" and isinstance(turns[-1]["content"], list):
                turns[-1]["content"].append(result)
            else:
                turns.append({"role": "user", "content": [result]})
            continue
        turns.append({"role": message.role, "content": _content(message, provider)})
    return turns


def _content(message: Message, provider: str) -> str | list[JsonObject]:
    """The content of a turn: as it came for a carried one, text, or blocks."""
    carry = message.carry
    if carry is not None and carry.get("provider") == provider and "content" in carry:
        return list(carry["content"])
    if not (message.images or message.files or message.tool_calls):
        return message.content
    blocks: list[JsonObject] = [
        {"type": "image", "source": {"type": "base64", "media_type": image.mime, "data": image.data}}
        for image in message.images
    ]
    blocks += [
        {"type": "document", "source": {"type": "base64", "media_type": file.mime, "data": file.data}}
        for file in documents_in(message.files, provider)
    ]
    if message.content:
        blocks.append({"type": "text", "text": message.content})
    blocks += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(call.arguments)}
        for call in message.tool_calls
    ]
    return blocks


def _tool_choice(choice: str) -> JsonObject:
    if choice == "none":
        return {"type": "none"}
    return {"type": "any"} if choice == "required" else {"type": "tool", "name": choice}


class MessagesReader(ResponseReader):
    """The reader of a `message`, or of the events that build one."""

    base_url_hint: ClassVar[str] = "Check the base URL: Anthropic's has no /v1."

    def __init__(self, provider: str, request: ChatRequest, key: str | None, key_env: str) -> None:
        """See `ResponseReader`."""
        super().__init__(provider, request, key, key_env)
        if any(not stop.strip() for stop in request.stop):  # the API refuses those
            self.cutter = StopCutter(request.stop)
        self._blocks: dict[int, JsonObject] = {}
        self._counts: JsonObject = {}

    def read_body(self, body: JsonObject) -> str:
        """The text of a `message`."""
        if not isinstance(body.get("content"), list):
            raise self.malformed("the answer has no content")
        self._read_start(body)
        self._read_end(body)
        self._blocks = {n: dict(block) for n, block in enumerate(mappings_in(body["content"]))}
        return "".join(as_text(b.get("text")) for b in self._blocks.values() if b.get("type") == "text")

    def read_event(self, event: JsonObject) -> str:
        """The text of one event. A block that begins twice is begun once."""
        kind = as_text(event.get("type"))
        if kind == "content_block_delta":
            return self._read_delta(event.get("index"), mapping_at(event, "delta"))
        if kind == "content_block_start":
            index = event.get("index")
            if isinstance(index, int) and index not in self._blocks:
                self._blocks[index] = dict(mapping_at(event, "content_block"))
                if self._blocks[index].get("type") == "text":
                    return as_text(self._blocks[index].get("text"))
        elif kind == "message_start":
            message = dict(mapping_at(event, "message"))
            usage = dict(mapping_at(message, "usage"))
            usage.pop("output_tokens", None)  # of what was there when the stream began
            self._read_start({**message, "usage": usage})
        elif kind == "message_delta":
            self._read_end(mapping_at(event, "delta"))
            self.read_usage(event)
        elif kind == "message_stop":
            self.ended = self.finish is not None
        return ""

    def _read_delta(self, index: object, delta: Mapping[str, object]) -> str:
        block = self._blocks.get(index) if isinstance(index, int) else None
        if block is None:
            raise self.malformed("the stream holds a piece of a block that never began")
        kind = as_text(delta.get("type"))
        if kind == "text_delta":
            text = as_text(delta.get("text"))
            block["text"] = as_text(block.get("text")) + text
            return text
        if kind == "input_json_delta":
            block["partial_json"] = as_text(block.get("partial_json")) + as_text(delta.get("partial_json"))
        elif kind == "thinking_delta":
            block["thinking"] = as_text(block.get("thinking")) + as_text(delta.get("thinking"))
        elif kind == "signature_delta":
            block["signature"] = as_text(block.get("signature")) + as_text(delta.get("signature"))
        return ""

    def _read_start(self, message: Mapping[str, object]) -> None:
        self.answer_id = self.answer_id or as_text(message.get("id"))
        self.model = self.model or as_text(message.get("model"))
        self.read_usage(dict(message))

    def _read_end(self, message: Mapping[str, object]) -> None:
        reason = as_text(message.get("stop_reason"))
        self.finish = end_of(reason) or self.finish
        if reason == "refusal":
            self.refusal = (
                as_text(mapping_at(message, "stop_details").get("explanation")) or "it declined to answer"
            )

    def read_usage(self, body: JsonObject) -> None:
        """Take counts over: they are cumulative, the last of each wins."""
        usage = body.get("usage")
        if isinstance(usage, Mapping):
            zeros = (None, 0, "", "0")  # behind a count they say nothing
            self._counts |= {n: v for n, v in usage.items() if v not in zeros or n not in self._counts}
            self.usage = anthropic_usage(self._counts)
            self.read_tier(usage.get("service_tier"))

    def before_response(self) -> None:
        """Add the tool calls; with signed thinking beside them the turn is carried."""
        for n, block in self._blocks.items():
            if block.get("type") == "tool_use":
                arguments = block.get("input")
                streamed = block.pop("partial_json", "")
                self.add_tool_call(
                    n,
                    id=as_text(block.get("id")),
                    name=as_text(block.get("name")),
                    arguments=streamed or (arguments if isinstance(arguments, Mapping) else ""),
                )
        if self.has_tool_calls and any(b.get("type", "").endswith("thinking") for b in self._blocks.values()):
            calls = iter(self._made_tool_calls(self.usage or Usage()))
            content = []
            for block in self._blocks.values():
                if block.get("type") == "tool_use":
                    block = {"type": "tool_use", "id": block.get("id"), "name": block.get("name")}
                    block["input"] = dict(next(calls).arguments)
                content.append({name: value for name, value in block.items() if value is not None})
            self.carry = {"provider": self.provider, "content": content}
