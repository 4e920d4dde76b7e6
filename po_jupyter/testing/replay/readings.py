"""Readings: what a recorded response says after its vendor's reference, read without the product's code.

References: the OpenAI API reference (Chat Completions, Responses), Anthropic's Messages, Gemini's
generateContent, 2026-11. Plain on purpose: whole responses and whole streams, no faults, no repair.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from po_jupyter.model.values.json import JsonObject
from po_jupyter.testing.replay.cassettes import Exchange

ApiName: TypeAlias = Literal["chat", "responses", "messages", "gemini", "converse"]


# The vendors' words for ends by what they mean, as far as recorded answers have them. Any other is compared as it is.
_ENDS: Mapping[str, str] = {
    **dict.fromkeys(("stop", "completed", "end_turn", "stop_sequence", "eos"), "stop"),
    **dict.fromkeys(("tool_calls", "tool_use", "function_call"), "tool_calls"),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length"), "length"),
    **dict.fromkeys(
        ("content_filter", "refusal", "safety", "recitation", "prohibited_content", "model_armor"), "refused"
    ),
    **dict.fromkeys(
        ("error", "failed", "pause_turn", "malformed_function_call", "unexpected_tool_call"), "failed"
    ),
    **dict.fromkeys(("guardrail_intervened", "content_filtered"), "refused"),
    **dict.fromkeys(("incomplete", "in_progress", "queued", "cancelled", "other"), "failed"),
}


@dataclass(slots=True)
class AnswerReading:
    """The parts of an answer. `tools` are (name, arguments); `finish` is the vendor's word; counts are tokens."""

    text: str = ""
    tools: list[tuple[str, Any]] = field(default_factory=list)
    finish: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    refusal: str = ""
    error: bool = False

    @property
    def end(self) -> str:
        """The meaning of `finish`: `stop`, `tool_calls`, `length`, `refused`, `failed`, or the word itself."""
        word = self.finish.lower()
        end = _ENDS.get(word, word)
        return "tool_calls" if self.tools and end not in ("failed", "refused") else end


def api_of(exchange: Exchange) -> ApiName | None:
    """The API of an exchange, by its request and its URL; None for another one (embeddings, models, images)."""
    request, url = exchange.request, exchange.url.partition("?")[0]
    if b'"embedding"' in exchange.body[:2000]:
        return None
    if "messages" in request and url.endswith(("/converse", "/converse-stream")):
        return "converse"
    if "contents" in request and (
        ":generateContent" in url or ":streamGenerateContent" in url or "REDACTED" in url
    ):
        return "gemini"
    if "messages" in request and "model" in request:
        messages = url.endswith("/messages") or b'"type":"message"' in exchange.body.replace(b" ", b"")
        return "messages" if messages else "chat" if url.endswith("completions") or "REDACTED" in url else None
    if "input" in request and "model" in request and (url.endswith("/responses") or "REDACTED" in url):
        return "responses"
    return None


def read(exchange: Exchange, api: ApiName) -> AnswerReading:
    """The reading of a response with status 200."""
    return _READERS[api](exchange)


def _events(exchange: Exchange) -> Iterator[JsonObject]:
    for line in exchange.response.decode("utf-8", "replace").splitlines():
        if line.startswith("data:") and (data := line[5:].strip()) and data != "[DONE]":
            yield json.loads(data)


def _chat(exchange: Exchange) -> AnswerReading:
    reading, calls = AnswerReading(), dict[int, list[str]]()
    bodies = list(_events(exchange)) if exchange.streamed else [json.loads(exchange.body)]
    reading.error = not any(body.get("choices") for body in bodies)
    for body in bodies:
        reading.error = reading.error or bool(body.get("error"))
        for choice in body.get("choices") or ():
            if choice.get("index"):
                continue
            message = choice.get("delta") or choice.get("message") or {}
            content = message.get("content")
            if isinstance(content, list):
                content = "".join(part.get("text") or "" for part in content if part.get("type") == "text")
            reading.text += content or ""
            reading.refusal += message.get("refusal") or ""
            for position, call in enumerate(message.get("tool_calls") or ()):
                index = call.get("index")
                parts = calls.setdefault(position if index is None else index, ["", ""])
                parts[0] += call["function"].get("name") or ""
                arguments = call["function"].get("arguments") or ""
                parts[1] += arguments if isinstance(arguments, str) else json.dumps(arguments)
            reading.finish = choice.get("finish_reason") or reading.finish
            if choice.get("error"):
                reading.error = True
        usage = body.get("usage") or (body.get("x_groq") or {}).get("usage")
        if usage:
            reading.input_tokens = usage.get("prompt_tokens") or 0
            reading.output_tokens = usage.get("completion_tokens") or 0
            reading.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    reading.tools = [(name, _arguments(text)) for _, (name, text) in sorted(calls.items())]
    return reading


def _responses(exchange: Exchange) -> AnswerReading:
    if exchange.streamed:
        ends = ("response.completed", "response.incomplete", "response.failed")
        events = list(_events(exchange))
        body: JsonObject = next((e["response"] for e in reversed(events) if e.get("type") in ends), {})
        if not body.get("output"):  # some servers leave the items out of the last event
            items = [e["item"] for e in events if e.get("type") == "response.output_item.done"]
            body = {**body, "output": items}
    else:
        body = json.loads(exchange.body)
    reading = AnswerReading(error=bool(body.get("error")) or body.get("status") == "failed")
    for item in body.get("output") or ():
        if item.get("type") == "message":
            for part in item.get("content") or ():
                reading.text += (part.get("text") or "") if part.get("type") == "output_text" else ""
                reading.refusal += part.get("refusal") or ""
        elif item.get("type") == "function_call":
            reading.tools.append((item["name"], _arguments(item.get("arguments") or "")))
    reading.finish = (body.get("incomplete_details") or {}).get("reason") or body.get("status") or ""
    usage = body.get("usage") or {}
    reading.input_tokens = usage.get("input_tokens") or 0
    reading.output_tokens = usage.get("output_tokens") or 0
    reading.cached_tokens = (usage.get("input_tokens_details") or {}).get("cached_tokens") or 0
    return reading


def _messages(exchange: Exchange) -> AnswerReading:
    reading, blocks, usage = AnswerReading(), dict[int, JsonObject](), dict[str, Any]()
    if exchange.streamed:
        for event in _events(exchange):
            kind = event.get("type")
            if kind == "message_start":
                usage.update(event["message"].get("usage") or {})
            elif kind == "content_block_start":
                blocks[event["index"]] = {**event["content_block"], "json": ""}
            elif kind == "content_block_delta":
                delta, block = event["delta"], blocks[event["index"]]
                block["text"] = (block.get("text") or "") + (delta.get("text") or "")
                block["json"] += delta.get("partial_json") or ""
            elif kind == "message_delta":
                reading.finish = event["delta"].get("stop_reason") or reading.finish
                usage.update({k: v for k, v in (event.get("usage") or {}).items() if v is not None})
            elif kind == "error":
                reading.error = True
    else:
        body = json.loads(exchange.body)
        blocks, usage = dict(enumerate(body.get("content") or ())), body.get("usage") or {}
        reading.finish = body.get("stop_reason") or ""
    for block in blocks.values():
        if block.get("type") == "text":
            reading.text += block.get("text") or ""
        elif block.get("type") == "tool_use":
            reading.tools.append(
                (block["name"], _arguments(block.get("json") or "") or block.get("input") or {})
            )
    reading.cached_tokens = usage.get("cache_read_input_tokens") or 0
    written = usage.get("cache_creation_input_tokens") or 0
    reading.input_tokens = (usage.get("input_tokens") or 0) + reading.cached_tokens + written
    reading.output_tokens = usage.get("output_tokens") or 0
    return reading


def _gemini(exchange: Exchange) -> AnswerReading:
    reading = AnswerReading()
    bodies = list(_events(exchange)) if exchange.streamed else [json.loads(exchange.body)]
    for body in bodies:
        reading.error = reading.error or bool(body.get("error"))
        reading.refusal = (body.get("promptFeedback") or {}).get("blockReason") or reading.refusal
        for candidate in (body.get("candidates") or ())[:1]:
            for part in (candidate.get("content") or {}).get("parts") or ():
                if not part.get("thought"):
                    reading.text += part.get("text") or ""
                if call := part.get("functionCall"):
                    reading.tools.append((call["name"], call.get("args") or {}))
            reading.finish = candidate.get("finishReason") or reading.finish
        if usage := body.get("usageMetadata"):
            reading.input_tokens = (usage.get("promptTokenCount") or 0) + (
                usage.get("toolUsePromptTokenCount") or 0
            )
            reading.output_tokens = (usage.get("candidatesTokenCount") or 0) + (
                usage.get("thoughtsTokenCount") or 0
            )
            reading.cached_tokens = usage.get("cachedContentTokenCount") or 0
    return reading


def _converse(exchange: Exchange) -> AnswerReading:
    reading = AnswerReading()
    if exchange.in_frames:
        body: JsonObject = {}
        blocks: dict[int, JsonObject] = {}
        for name, fields in _frames(exchange.body):
            if name == "error":
                reading.error = True
            elif name == "contentBlockStart":
                use = fields["start"].get("toolUse")
                blocks[fields["contentBlockIndex"]] = {"toolUse": dict(use, input="")} if use else {}
            elif name == "contentBlockDelta":
                block, delta = blocks.setdefault(fields["contentBlockIndex"], {}), fields["delta"]
                if "text" in delta:
                    block["text"] = block.get("text", "") + delta["text"]
                elif "toolUse" in delta and "toolUse" in block:
                    block["toolUse"]["input"] += delta["toolUse"]["input"]
            elif name in ("messageStop", "metadata"):
                body |= fields
        content = list(blocks.values())
    else:
        body = json.loads(exchange.body)
        content = body["output"]["message"]["content"]
    for block in content:
        reading.text += block.get("text") or ""
        if use := block.get("toolUse"):
            given = use.get("input")
            reading.tools.append((use["name"], _arguments(given) if isinstance(given, str) else given or {}))
    reading.finish = body.get("stopReason") or ""
    usage = body.get("usage") or {}
    reading.output_tokens = usage.get("outputTokens") or 0
    reading.input_tokens = (usage.get("totalTokens") or 0) - reading.output_tokens
    reading.cached_tokens = usage.get("cacheReadInputTokens") or 0
    return reading


def _frames(data: bytes) -> Iterator[tuple[str, JsonObject]]:
    """The events of Amazon's event stream, by name; its checksums are taken for right."""
    while data:
        size, head = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
        frame, data = data[:size], data[size:]
        fields, names = frame[12 : 12 + head], dict[str, str]()
        while fields:
            end = 1 + fields[0]
            length = int.from_bytes(fields[end + 1 : end + 3], "big")  # every header that is sent is a text
            names[fields[1:end].decode()] = fields[end + 3 : end + 3 + length].decode()
            fields = fields[end + 3 + length :]
        payload = json.loads(frame[12 + head : -4] or b"{}")
        yield names.get(":event-type", "error"), payload


def _arguments(text: str) -> Any:
    try:
        return json.loads(text) if text.strip() else {}
    except ValueError:
        return text


_READERS: Mapping[ApiName, Callable[[Exchange], AnswerReading]] = {
    "chat": _chat,
    "responses": _responses,
    "messages": _messages,
    "gemini": _gemini,
    "converse": _converse,
}
