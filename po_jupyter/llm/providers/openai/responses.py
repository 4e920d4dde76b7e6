"""OpenAI's Responses API.

Reference: developers.openai.com/api/reference (Responses, "Create a model response", "Streaming events").

What differs from Chat Completions, as far as it can be noticed:

* nothing is kept at the vendor (`store: false`); what a model reasoned before a tool call comes encrypted and
  is carried in the conversation;
* there are no stop sequences: the text is cut here; there is no seed;
* the limit is `max_output_tokens` and counts reasoning too;
* the last event of a stream holds the whole response: that is what is read, the pieces before it are for the
  eyes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.compatible.family import OPENAI_REASONING
from po_jupyter.llm.structured.dialects import JSON_ONLY, instructed
from po_jupyter.llm.wire.exchange import OneServer
from po_jupyter.llm.wire.http import Target
from po_jupyter.llm.wire.response_reader import Reading, count, part, rows, used, word
from po_jupyter.llm.wire.stop_sequences import StopCutter
from po_jupyter.model.run.usage import Usage

_REASONING = re.compile(OPENAI_REASONING)
_ENDS = {"response.completed", "response.incomplete", "response.failed"}
_WHY_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "refused"}


class Responses(OneServer):
    """A provider for one server's `/responses`."""

    name = "openai"
    key_env = "OPENAI_API_KEY"

    @cached_property
    def _target(self) -> Target:
        url = self._endpoint.base_url.rstrip("/") + "/responses"
        return Target(url, key=self._endpoint.key, name=self.name)

    def target(self, request: ChatRequest, *, stream: bool) -> Target:
        """See `OneServer`."""
        return self._target

    def body(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """See `OneServer`."""
        return body_of(request, stream=stream, provider=self.name)

    def reading(self, request: ChatRequest) -> Reading:
        """See `OneServer`."""
        return ResponsesReading(self.name, request, self._endpoint.key, self._key_env)


def body_of(request: ChatRequest, *, stream: bool, provider: str = "openai") -> dict[str, Any]:
    """The JSON body of a Responses request."""
    model = request.model_name
    reasons = _REASONING.match(model) is not None
    body: dict[str, Any] = {"model": model, "store": False}
    messages = request.messages
    if request.schema is not None:
        wanted = {"type": "json_schema", "name": "answer", "schema": request.schema, "strict": False}
        body["text"] = {"format": wanted}
    elif request.json:
        body["text"] = {"format": {"type": "json_object"}}
        if not any("json" in m.content.lower() for m in messages):
            messages = instructed(messages, JSON_ONLY)
    if messages and messages[0].role == "system":
        body["instructions"] = messages[0].content
        messages = messages[1:]
    body["input"] = [item for message in messages for item in _items(message, provider)]
    if request.temperature is not None and not reasons:
        body["temperature"] = request.temperature
    if request.max_tokens is not None:
        body["max_output_tokens"] = request.max_tokens
    if request.effort is not None and reasons:
        body["reasoning"] = {"effort": request.effort}
    if request.tools:
        body["tools"] = [{"type": "function", **tool.to_json(), "strict": False} for tool in request.tools]
        if reasons:
            body["include"] = ["reasoning.encrypted_content"]
        choice = request.tool_choice
        if choice:
            words = ("none", "required")
            body["tool_choice"] = choice if choice in words else {"type": "function", "name": choice}
    if stream:
        body["stream"] = True
    return body


def _items(message: Message, provider: str) -> list[dict[str, Any]]:
    """A turn as input items: one, or for an assistant's turn as many as it had."""
    if message.role == "tool":
        return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": message.content}]
    carry = message.carry
    if carry is not None and carry.get("provider") == provider and "items" in carry:
        return [dict(item) for item in carry["items"]]
    content: Any = message.content
    if message.images:
        content = [
            {"type": "input_image", "detail": "auto", "image_url": image.url} for image in message.images
        ]
        if message.content:
            content.insert(0, {"type": "input_text", "text": message.content})
    items: list[dict[str, Any]] = []
    if content or not message.tool_calls:
        items.append({"type": "message", "role": message.role, "content": content})
    for call in message.tool_calls:
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        items.append({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments})
    return items


class ResponsesReading(Reading):
    """A `response` object, or the events that lead to it."""

    base_url_hint: ClassVar[str] = "Check the base URL: OpenAI's kind includes /v1."
    api: ClassVar[str] = "responses"

    def __init__(self, provider: str, request: ChatRequest, key: str | None, key_env: str) -> None:
        super().__init__(provider, request, key, key_env)
        self._seen = -1
        if request.stop:
            self.cutter = StopCutter(request.stop)

    def whole(self, said: dict[str, Any]) -> str:
        """See `Reading`."""
        if not isinstance(said.get("output"), list):
            raise self.shapeless("the answer has no output")
        return self._response(said)

    def event(self, said: dict[str, Any]) -> str:
        """See `Reading`. An event that comes again (by its `sequence_number`) is passed over."""
        number = said.get("sequence_number")
        if isinstance(number, int):
            if number <= self._seen:
                return ""
            self._seen = number
        kind = word(said.get("type"))
        if kind == "response.output_text.delta":
            return word(said.get("delta"))
        if kind == "response.refusal.delta":
            self.refusal += word(said.get("delta"))
        elif kind == "response.created":
            self.answer_id = word(part(said, "response").get("id"))
        elif kind == "error":
            raise self.inside({name: said.get(name) for name in ("code", "message", "param")})
        elif kind in _ENDS:
            response = part(said, "response")
            if response.get("error"):
                raise self.inside(response["error"])
            self.ended = True
            return self._end_of_stream(response)
        return ""

    def _end_of_stream(self, response: Mapping[str, Any]) -> str:
        """Read the whole response that the last event brings; the text that no piece brought before it."""
        text = self._response(response)
        if self.cutter is not None:
            return ""  # cut pieces cannot be compared, and are complete
        shown = "".join(self._pieces)
        if text and text != shown:
            # A server whose pieces were lost or came twice: the whole text is the truth.
            self._pieces.clear()
            self._pieces.append(text)
            if shown:
                return ""
            self._pieces.clear()
            return text
        return ""

    def _response(self, said: Mapping[str, Any]) -> str:
        self.answer_id = word(said.get("id"))
        self.model = word(said.get("model"))
        self.usage = usage_of(said.get("usage")) or self.usage
        text: list[str] = []
        refusal: list[str] = []
        items = rows(said.get("output"))
        for n, item in enumerate(items):
            if item.get("type") == "message":
                for content in rows(item.get("content")):
                    text.append(word(content.get("text")))
                    refusal.append(word(content.get("refusal")))
            elif item.get("type") == "function_call":
                self.call(
                    n,
                    id=word(item.get("call_id")) or word(item.get("id")),
                    name=word(item.get("name")),
                    arguments=word(item.get("arguments")),
                )
        self.refusal = "".join(refusal) or self.refusal
        if any(item.get("encrypted_content") for item in items):
            self.carry = {"provider": self.provider, "items": [_returned(item) for item in items]}
        self.finish = "stop"
        if said.get("status") == "incomplete":
            why = word(part(said, "incomplete_details").get("reason"))
            self.finish = _WHY_INCOMPLETE.get(why, why or "length")
        elif said.get("status") in ("failed", "cancelled"):
            self.finish = "failed"
        return "".join(text)


def _returned(item: Mapping[str, Any]) -> dict[str, Any]:
    """An output item as it goes back in: without its state, which the API sets."""
    return {name: value for name, value in item.items() if name != "status" and value is not None}


def usage_of(said: Any) -> Usage | None:
    """The usage of a response; None when there is none."""
    if not isinstance(said, Mapping):
        return None
    read = part(said, "input_tokens_details")
    return used(
        count(said.get("input_tokens")),
        count(said.get("output_tokens")),
        cached=count(read.get("cached_tokens")),
        written=count(read.get("cache_write_tokens")),
        reasoning=count(part(said, "output_tokens_details").get("reasoning_tokens")),
    )
