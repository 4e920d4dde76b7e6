"""Anthropic's Messages API.

Reference: platform.claude.com/docs/en/api/messages and .../build-with-claude/streaming, structured-outputs,
adaptive-thinking, extended-thinking.

* System messages go into `system`, wherever they stand.
* `max_tokens` is required: 4,096 when a request sets none. It is a bound of thinking and answer together.
* A JSON Schema is enforced (`output_config.format`) on models from 4.5 on, as far as the API can; where it
  cannot, and for JSON without a schema, it is told in words.
* Thinking, asked for by `effort`: adaptive from 4.6 on, with `output_config.effort`; a budget of tokens before,
  never more than half of `max_tokens`. Thinking blocks are signed; with tool calls they are carried and go
  back.
* No temperature with thinking, and none at all from 4.7 on: those models refuse it. There is no seed.
* `input_tokens` on the wire leaves out what came from the cache or went into it; ours has it all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from po_jupyter.errors import ModelRefused
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.structured.dialects import JSON_ONLY, for_anthropic, told
from po_jupyter.llm.wire.exchange import OneServer
from po_jupyter.llm.wire.http import Target
from po_jupyter.llm.wire.response_reader import Reading, count, part, rows, used, word
from po_jupyter.model.run.usage import Usage

if TYPE_CHECKING:
    from po_jupyter.llm.providers.anthropic.batches import AnthropicBatches

VERSION = "2023-06-01"
MAX_TOKENS = 4096
_MODEL = re.compile(r"claude-[a-z]+-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32000, "max": 32000}
_SMALLEST_BUDGET = 1024
_ENDS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refused",
}


def version_of(model: str) -> tuple[int, int]:
    """(4, 5) for `claude-haiku-4-5-20251001`; a name that says no version counts as an old one, (3, 0)."""
    found = _MODEL.match(model)
    return (int(found[1]), int(found[2] or 0)) if found else (3, 0)


class Anthropic(OneServer):
    """A provider for Anthropic, or another server with its Messages API."""

    name = "anthropic"
    key_env = "ANTHROPIC_API_KEY"

    @cached_property
    def _target(self) -> Target:
        base = self._endpoint.base_url.rstrip("/").removesuffix("/v1")
        return Target(
            f"{base}/v1/messages",
            key=self._endpoint.key,
            name=self.name,
            headers={"anthropic-version": VERSION},
            key_header="x-api-key",
        )

    @cached_property
    def batches(self) -> AnthropicBatches:
        """See `llm.batches.base.Batches`."""
        from po_jupyter.llm.providers.anthropic.batches import AnthropicBatches

        return AnthropicBatches(
            self._endpoint, self._http, name=self.name, key_env=self._key_env, timeout=self._timeout
        )

    def target(self, request: ChatRequest, *, stream: bool) -> Target:
        """See `OneServer`."""
        return self._target

    def body(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """See `OneServer`."""
        return body_of(request, stream=stream, provider=self.name)

    def reading(self, request: ChatRequest) -> Reading:
        """See `OneServer`."""
        return MessagesReading(self.name, request, self._endpoint.key, self._key_env)


def body_of(request: ChatRequest, *, stream: bool, provider: str = "anthropic") -> dict[str, Any]:
    """The JSON body of a Messages request. Raises ModelRefused when there is no room to think in."""
    version = version_of(request.model_name)
    limit = request.max_tokens or MAX_TOKENS
    body: dict[str, Any] = {"model": request.model_name, "max_tokens": limit}
    system = [m.content for m in request.messages if m.role == "system"]
    output: dict[str, Any] = {}
    if request.schema is not None:
        enforced, lost = for_anthropic(request.schema) if version >= (4, 5) else (None, True)
        if enforced is not None:
            output["format"] = {"type": "json_schema", "schema": enforced}
        if lost:
            system.append(told(request.schema))
    elif request.json:
        system.append(JSON_ONLY)
    if system:
        body["system"] = "\n\n".join(system)
    body["messages"] = _turns(request.messages, provider)
    thinks = _think(body, output, request.effort, version, limit)
    if request.temperature is not None and not thinks and version < (4, 7):
        body["temperature"] = request.temperature
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if request.tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}
            for tool in request.tools
        ]
        if request.tool_choice:
            body["tool_choice"] = _choice(request.tool_choice)
    if output:
        body["output_config"] = output
    if stream:
        body["stream"] = True
    return body


def _think(
    body: dict[str, Any], output: dict[str, Any], effort: str | None, version: tuple[int, int], limit: int
) -> bool:
    """Ask for thinking, or for none; whether there will be some."""
    if effort is None or version < (3, 7):
        return version >= (5, 0)  # they think unless told not to
    if effort == "none":
        if version >= (5, 0):
            body["thinking"] = {"type": "disabled"}
        return False
    if version >= (4, 6):
        body["thinking"] = {"type": "adaptive"}
        word = "low" if effort == "minimal" else effort
        output["effort"] = "high" if word == "xhigh" and version < (4, 7) else word
        return True
    if limit < 2 * _SMALLEST_BUDGET:
        raise ModelRefused(
            f"effort {effort!r} needs max_tokens of at least {2 * _SMALLEST_BUDGET} here, not {limit}",
            hint="Thinking and answer share max_tokens: raise it, or leave effort out.",
        )
    body["thinking"] = {"type": "enabled", "budget_tokens": min(_BUDGETS[effort], limit // 2)}
    return True


def _turns(messages: tuple[Message, ...], provider: str) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
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


def _content(message: Message, provider: str) -> Any:
    carry = message.carry
    if carry is not None and carry.get("provider") == provider and "content" in carry:
        return list(carry["content"])
    if not message.images and not message.tool_calls:
        return message.content
    blocks: list[dict[str, Any]] = [
        {"type": "image", "source": {"type": "base64", "media_type": image.mime, "data": image.data}}
        for image in message.images
    ]
    if message.content:
        blocks.append({"type": "text", "text": message.content})
    blocks += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(call.arguments)}
        for call in message.tool_calls
    ]
    return blocks


def _choice(choice: str) -> dict[str, Any]:
    if choice == "none":
        return {"type": "none"}
    return {"type": "any"} if choice == "required" else {"type": "tool", "name": choice}


class MessagesReading(Reading):
    """A `message`, or the events that build one."""

    base_url_hint: ClassVar[str] = "Check the base URL: Anthropic's has no /v1."

    def __init__(self, provider: str, request: ChatRequest, key: str | None, key_env: str) -> None:
        super().__init__(provider, request, key, key_env)
        self._blocks: dict[int, dict[str, Any]] = {}
        self._counts: dict[str, Any] = {}

    def whole(self, said: dict[str, Any]) -> str:
        """See `Reading`."""
        if not isinstance(said.get("content"), list):
            raise self.shapeless("the answer has no content")
        self._begin(said)
        self._end(said)
        self._blocks = {n: dict(block) for n, block in enumerate(rows(said["content"]))}
        return "".join(word(b.get("text")) for b in self._blocks.values() if b.get("type") == "text")

    def event(self, said: dict[str, Any]) -> str:
        """See `Reading`. What begins twice is begun once."""
        kind = word(said.get("type"))
        if kind == "content_block_delta":
            return self._delta(said.get("index"), part(said, "delta"))
        if kind == "content_block_start":
            index = said.get("index")
            if isinstance(index, int) and index not in self._blocks:
                self._blocks[index] = dict(part(said, "content_block"))
                if self._blocks[index].get("type") == "text":
                    return word(self._blocks[index].get("text"))
        elif kind == "message_start":
            self._begin(part(said, "message"))
        elif kind == "message_delta":
            self._end(part(said, "delta"))
            self._count(said.get("usage"))
        elif kind == "message_stop":
            self.ended = self.finish is not None
        return ""

    def _delta(self, index: Any, delta: Mapping[str, Any]) -> str:
        block = self._blocks.get(index) if isinstance(index, int) else None
        if block is None:
            raise self.shapeless("the stream holds a piece of a block that never began")
        kind = word(delta.get("type"))
        if kind == "text_delta":
            text = word(delta.get("text"))
            block["text"] = word(block.get("text")) + text
            return text
        if kind == "input_json_delta":
            block["partial_json"] = word(block.get("partial_json")) + word(delta.get("partial_json"))
        elif kind == "thinking_delta":
            block["thinking"] = word(block.get("thinking")) + word(delta.get("thinking"))
        elif kind == "signature_delta":
            block["signature"] = word(block.get("signature")) + word(delta.get("signature"))
        return ""

    def _begin(self, message: Mapping[str, Any]) -> None:
        self.answer_id = self.answer_id or word(message.get("id"))
        self.model = self.model or word(message.get("model"))
        self._count(message.get("usage"))

    def _end(self, said: Mapping[str, Any]) -> None:
        reason = word(said.get("stop_reason"))
        self.finish = _ENDS.get(reason, reason) or self.finish
        if reason == "refusal":
            self.refusal = word(part(said, "stop_details").get("explanation")) or "it declined to answer"

    def _count(self, usage: Any) -> None:
        """Counts are cumulative: the last word of each wins."""
        if isinstance(usage, Mapping):
            self._counts |= {name: value for name, value in usage.items() if value is not None}
            self.usage = usage_of(self._counts)

    def last(self) -> None:
        """See `Reading`."""
        for n, block in self._blocks.items():
            if block.get("type") == "tool_use":
                given = block.get("input")
                written = block.pop("partial_json", "")
                self.call(
                    n,
                    id=word(block.get("id")),
                    name=word(block.get("name")),
                    arguments=written or (given if isinstance(given, Mapping) else ""),
                )
        if self._calls and any(b.get("type", "").endswith("thinking") for b in self._blocks.values()):
            calls = iter(self._made_calls(self.usage or Usage()))
            content = []
            for block in self._blocks.values():
                if block.get("type") == "tool_use":
                    block = {"type": "tool_use", "id": block.get("id"), "name": block.get("name")}
                    block["input"] = dict(next(calls).arguments)
                content.append({name: value for name, value in block.items() if value is not None})
            self.carry = {"provider": self.provider, "content": content}


def usage_of(said: Mapping[str, Any]) -> Usage:
    """The usage of a message. What was read from and written to the cache is part of our `input_tokens`."""
    read, written = count(said.get("cache_read_input_tokens")), count(said.get("cache_creation_input_tokens"))
    return used(
        count(said.get("input_tokens")) + read + written,
        count(said.get("output_tokens")),
        cached=read,
        written=written,
        reasoning=count(part(said, "output_tokens_details").get("thinking_tokens")),
    )
