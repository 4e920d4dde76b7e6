"""The provider for OpenAI's Responses API: request bodies and responses.

Reference: developers.openai.com/api/reference (Responses, "Create a model response", "Streaming events").

Differences from Chat Completions:

* nothing is stored at the vendor (`store: false`); reasoning before a tool call comes encrypted and is carried in
  the conversation;
* there are no stop sequences: the text is cut on this side; there is no seed;
* JSON mode wants the word JSON in an input message; instructions do not count;
* the limit is `max_output_tokens`, at least 16, and counts reasoning too;
* the last event of a stream holds the whole response: it is read, the pieces before it are only shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

from po_jupyter.llm.audio import documents_in
from po_jupyter.llm.bounds import output_limit
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.money.service_tiers import wire_tier
from po_jupyter.llm.providers.compatible.family import OPENAI_REASONING, OPENAI_TIERS
from po_jupyter.llm.structured.dialects import JSON_ONLY, schema_as_text, with_instructions, with_turn
from po_jupyter.llm.structured.openai_schema import openai_schema
from po_jupyter.llm.wire.ends import end_of
from po_jupyter.llm.wire.exchange import HttpProvider
from po_jupyter.llm.wire.http import Target
from po_jupyter.llm.wire.json_fields import as_text, mapping_at, mappings_in
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.llm.wire.stop_sequences import StopCutter
from po_jupyter.llm.wire.usage import responses_usage
from po_jupyter.model.values.json import JsonObject

_REASONING = re.compile(OPENAI_REASONING)
_SMALLEST_LIMIT = 16  # of `max_output_tokens`
_ENDS = {"response.completed", "response.incomplete", "response.failed"}


class Responses(HttpProvider):
    """A provider for one server's `/responses`."""

    name = "openai"
    key_env = "OPENAI_API_KEY"

    @cached_property
    def _target(self) -> Target:
        url = self.endpoint.base_url.rstrip("/") + "/responses"
        return Target(url, key=self.endpoint.key, name=self.name, headers=self.endpoint.headers)

    def target(self, request: ChatRequest, *, stream: bool) -> Target:
        """`/responses` for every request."""
        return self._target

    def body(self, request: ChatRequest, *, stream: bool) -> JsonObject:
        """The body of a Responses request."""
        return responses_body(request, stream=stream, provider=self.name)

    def reader(self, request: ChatRequest) -> ResponseReader:
        """A reader of Responses answers."""
        return ResponsesReader(self.name, request, self.endpoint.key, self.key_env)


def responses_body(request: ChatRequest, *, stream: bool, provider: str = "openai") -> JsonObject:
    """The JSON body of a Responses request."""
    model = request.model_name
    reasons = _REASONING.match(model) is not None
    body: JsonObject = {"model": model, "store": False}
    messages = _add_format(body, request)
    if messages and messages[0].role == "system":
        body["instructions"] = messages[0].content
        messages = messages[1:]
    body["input"] = [item for message in messages for item in _items(message, provider)]
    if request.json and request.schema is None and not any("json" in m.content.lower() for m in messages):
        # JSON mode wants the word in an input message; instructions do not count.
        body["input"].insert(0, {"type": "message", "role": "system", "content": JSON_ONLY})
    if request.temperature is not None and not reasons:
        body["temperature"] = request.temperature
    if (limit := output_limit(request)) is not None:
        body["max_output_tokens"] = max(limit, _SMALLEST_LIMIT)
    if request.effort is not None and reasons:
        body["reasoning"] = {"effort": request.effort}
    if request.tools:
        _add_tools(body, request, reasons)
    if (tier := wire_tier(request, OPENAI_TIERS)) is not None:
        body["service_tier"] = tier
    if stream:
        body["stream"] = True
    return body


def _add_format(body: JsonObject, request: ChatRequest) -> tuple[Message, ...]:
    """Ask for JSON; the messages, with a turn, and with the schema where the API does not enforce all of it."""
    messages = with_turn(request.messages)
    if request.schema is not None:
        shape = openai_schema(request.schema)
        body["text"] = {"format": {"type": "json_schema", **shape.as_format()}}
        if shape.in_full is not None:
            return with_instructions(messages, schema_as_text(shape.in_full))
    elif request.json:
        body["text"] = {"format": {"type": "json_object"}}
    return messages


def _add_tools(body: JsonObject, request: ChatRequest, reasons: bool) -> None:
    body["tools"] = [{"type": "function", **tool.to_json(), "strict": False} for tool in request.tools]
    if reasons:
        body["include"] = ["reasoning.encrypted_content"]
    choice = request.tool_choice
    if choice:
        by_name = choice not in ("none", "required")
        body["tool_choice"] = {"type": "function", "name": choice} if by_name else choice


def _items(message: Message, provider: str) -> list[JsonObject]:
    """The input items of a turn: one, or for an assistant's turn as many as it had."""
    if message.role == "tool":
        return [{"type": "function_call_output", "call_id": message.tool_call_id, "output": message.content}]
    carry = message.carry
    if carry is not None and carry.get("provider") == provider and "items" in carry:
        return [dict(item) for item in carry["items"]]
    content: str | list[JsonObject] = message.content
    if message.images or message.files:
        texts: list[JsonObject] = [{"type": "input_text", "text": message.content}] if message.content else []
        content = texts + [
            {"type": "input_image", "detail": "auto", "image_url": image.url} for image in message.images
        ]
        content += [
            {"type": "input_file", "filename": f"document-{n}.pdf", "file_data": file.url}
            for n, file in enumerate(documents_in(message.files, provider), 1)
        ]
    items: list[JsonObject] = []
    if content or not message.tool_calls:
        items.append({"type": "message", "role": message.role, "content": content})
    for call in message.tool_calls:
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        items.append({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments})
    return items


class ResponsesReader(ResponseReader):
    """The reader of a `response` object, or of the events that lead to it."""

    base_url_hint: ClassVar[str] = "Check the base URL: OpenAI's kind includes /v1."
    api: ClassVar[str] = "responses"

    def __init__(self, provider: str, request: ChatRequest, key: str | None, key_env: str) -> None:
        """See `ResponseReader`."""
        super().__init__(provider, request, key, key_env)
        self._last_number = -1
        self.wrapped = request.schema is not None and openai_schema(request.schema).wrapped
        if request.stop:
            self.cutter = StopCutter(request.stop)

    def read_body(self, body: JsonObject) -> str:
        """The text of a `response`."""
        if not isinstance(body.get("output"), list):
            raise self.malformed("the answer has no output")
        return self._read_whole(body)

    def read_event(self, event: JsonObject) -> str:
        """The text of one event. An event that comes again (by its `sequence_number`) is passed over."""
        number = event.get("sequence_number")
        if isinstance(number, int):
            if number <= self._last_number:
                return ""
            self._last_number = number
        kind = as_text(event.get("type"))
        if kind == "response.output_text.delta":
            return as_text(event.get("delta"))
        if kind == "response.refusal.delta":
            self.refusal += as_text(event.get("delta"))
        elif kind == "response.created":
            self.answer_id = as_text(mapping_at(event, "response").get("id"))
        elif kind == "error":
            raise self.error_inside({name: event.get(name) for name in ("code", "message", "param")})
        elif kind in _ENDS:
            response = mapping_at(event, "response")
            if response.get("error"):
                self.read_usage(dict(response))
                raise self.error_inside(response["error"])
            self.ended = True
            return self._read_end(response)
        return ""

    def read_usage(self, body: JsonObject) -> None:
        """The usage of a response, or of an event that holds one."""
        response = mapping_at(body, "response") or body
        self.read_tier(response.get("service_tier"))
        counts = response.get("usage")
        usage = responses_usage(counts) if isinstance(counts, Mapping) else None
        if usage is not None and (self.usage is None or usage.input_tokens or usage.output_tokens):
            self.usage = usage

    def _read_end(self, response: Mapping[str, object]) -> str:
        """Read the whole response that the last event brings; its text when no piece brought any before."""
        text = self._read_whole(response)
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

    def _read_whole(self, response: Mapping[str, object]) -> str:
        self.answer_id = as_text(response.get("id"))
        self.model = as_text(response.get("model"))
        self.read_usage(dict(response))
        items = mappings_in(response.get("output"))
        text, refusal = self._read_items(items)
        self.refusal = refusal or self.refusal
        if any(item.get("encrypted_content") for item in items):
            self.carry = {"provider": self.provider, "items": [_as_input(item) for item in items]}
        self.finish = self._read_finish(response)
        return text

    @staticmethod
    def _read_finish(response: Mapping[str, object]) -> str:
        """The end of a response: of its state, and for an incomplete one of the reason."""
        state = as_text(response.get("status"))
        if state != "incomplete":
            return end_of(state or "completed")
        reason = as_text(mapping_at(response, "incomplete_details").get("reason"))
        end = end_of(reason or "max_output_tokens")
        return end if end in ("length", "refused") else "failed"  # nothing else that is incomplete is an answer

    def _read_items(self, items: list[JsonObject]) -> tuple[str, str]:
        """(text, refusal) of the output items; tool calls are added."""
        text: list[str] = []
        refusal: list[str] = []
        for n, item in enumerate(items):
            if item.get("type") == "message":
                for content in mappings_in(item.get("content")):
                    text.append(as_text(content.get("text")))
                    refusal.append(as_text(content.get("refusal")))
            elif item.get("type") == "function_call":
                self.add_tool_call(
                    n,
                    id=as_text(item.get("call_id")) or as_text(item.get("id")),
                    name=as_text(item.get("name")),
                    arguments=as_text(item.get("arguments")),
                )
        return "".join(text), "".join(refusal)


def _as_input(item: JsonObject) -> JsonObject:
    """An output item as it goes back in: without its state, which the API sets."""
    return {name: value for name, value in item.items() if name != "status" and value is not None}
