"""The vendors' official SDKs as judges: what we send they accept, what their servers send they read alike."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError


@lru_cache(maxsize=64)
def adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def plain(value: Any) -> Any:
    """A validated value with its lazy iterables walked through: pydantic checks them only then."""
    if hasattr(value, "model_dump"):
        return value.model_dump(by_alias=True, exclude_unset=True, mode="json")
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return value
    return [plain(inner) for inner in value]


def accepted(kind: Any, body: dict[str, Any], *, extra: Iterable[str] = ()) -> None:
    """The body is a `kind`, and every key in it is one that `kind` knows; `extra` goes through `extra_body`."""
    body = {name: value for name, value in body.items() if name not in set(extra)}
    try:
        checked = plain(adapter(kind).validate_python(body))
    except ValidationError as error:
        raise AssertionError(
            f"the SDK's types refuse the request: {error}\n{json.dumps(body)[:2000]}"
        ) from None
    assert checked == body, "the SDK's types do not know a key of the request"


def read(kind: Any, body: Any) -> Any:
    """A response as the SDK reads it: strictly, so that a fixture which is none of theirs is found."""
    return adapter(kind).validate_python(body)


# -- requests ------------------------------------------------------------------------------------------------
def chat_request(body: dict[str, Any], extra: Iterable[str] = ()) -> None:
    from openai.types.chat.completion_create_params import (
        CompletionCreateParamsNonStreaming,
        CompletionCreateParamsStreaming,
    )

    kind = CompletionCreateParamsStreaming if body.get("stream") else CompletionCreateParamsNonStreaming
    carried = [m.pop("reasoning_content") for m in body["messages"] if "reasoning_content" in m]
    assert not carried or "reasoning_content" in set(extra)
    accepted(kind, body, extra=extra)


def responses_request(body: dict[str, Any]) -> None:
    from openai.types.responses.response_create_params import (
        ResponseCreateParamsNonStreaming,
        ResponseCreateParamsStreaming,
    )

    accepted(ResponseCreateParamsStreaming if body.get("stream") else ResponseCreateParamsNonStreaming, body)


def messages_request(body: dict[str, Any]) -> None:
    from anthropic.types.message_create_params import (
        MessageCreateParamsNonStreaming,
        MessageCreateParamsStreaming,
    )

    kind = MessageCreateParamsStreaming if body.get("stream") else MessageCreateParamsNonStreaming
    # The SDK dropped the word when models from 4.7 on began to refuse it; the older ones still take it.
    accepted(kind, body, extra={"temperature"})


def gemini_request(body: dict[str, Any]) -> None:
    from google.genai import types

    known = {"contents", "systemInstruction", "generationConfig", "tools", "toolConfig", "serviceTier"}
    assert body.keys() <= known
    assert body.get("serviceTier", "standard") in {tier.value for tier in types.ServiceTier}
    for content in body["contents"]:
        types.Content.model_validate(content)
    for name, kind in (
        ("systemInstruction", types.Content),
        ("generationConfig", types.GenerationConfig),
        ("toolConfig", types.ToolConfig),
    ):
        if name in body:
            kind.model_validate(body[name])  # extra fields are forbidden there
    for tool in body.get("tools", ()):
        types.Tool.model_validate(tool)


# -- responses -----------------------------------------------------------------------------------------------
def chat_text(exchange: dict[str, Any]) -> str:
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    if "events" not in exchange:
        return read(ChatCompletion, exchange["body"]).choices[0].message.content or ""
    chunks = [read(ChatCompletionChunk, e) for e in exchange["events"] if e != "[DONE]"]
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def responses_text(exchange: dict[str, Any]) -> str:
    from openai.types.responses import Response, ResponseStreamEvent

    if "events" not in exchange:
        return read(Response, exchange["body"]).output_text
    events = [read(ResponseStreamEvent, e) for e in exchange["events"] if "later" not in e["type"]]
    return events[-1].response.output_text


def messages_text(exchange: dict[str, Any]) -> str:
    from anthropic.types import Message, RawMessageStreamEvent

    if "events" not in exchange:
        return "".join(b.text for b in read(Message, exchange["body"]).content if b.type == "text")
    known = [e for e in exchange["events"] if e["type"] not in ("ping", "later_event")]
    events = [read(RawMessageStreamEvent, e) for e in known]
    deltas = [e.delta for e in events if e.type == "content_block_delta"]
    return "".join(d.text for d in deltas if d.type == "text_delta")


def gemini_text(exchange: dict[str, Any]) -> str:
    from google.genai import types

    bodies = exchange.get("events") or [exchange["body"]]
    said = [types.GenerateContentResponse.model_validate(body) for body in bodies]
    parts = [p for s in said if s.candidates for p in (s.candidates[0].content or types.Content()).parts or ()]
    return "".join(p.text or "" for p in parts if not p.thought)


# -- Bedrock: botocore's model of the service, offline --------------------------------------------------------
@lru_cache(maxsize=1)
def bedrock_model() -> Any:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    return ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime")


def converse_request(body: dict[str, Any], model: str, *, stream: bool = False) -> None:
    """The body is one that botocore would send: known fields, required ones, bounds, enumerations and patterns."""
    from botocore.validate import ParamValidator

    shape = bedrock_model().operation_model("ConverseStream" if stream else "Converse").input_shape
    report = ParamValidator().validate({**body, "modelId": model}, shape)
    assert not report.has_errors(), report.generate_report()
    _within(body, shape, "")


def _within(value: Any, shape: Any, where: str) -> None:
    """What botocore leaves to the server: enumerations, patterns, unions of one member."""
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        assert not getattr(shape, "is_tagged_union", False) or len(value) == 1, f"{where}: {list(value)}"
        for name, inner in value.items():
            _within(inner, shape.members[name], f"{where}.{name}")
    elif shape.type_name == "list":
        for n, inner in enumerate(value):
            _within(inner, shape.member, f"{where}[{n}]")
    elif shape.type_name == "string":
        enum, pattern = shape.metadata.get("enum"), shape.metadata.get("pattern")
        assert not enum or value in enum, f"{where}: {value!r}"
        assert not pattern or re.fullmatch(pattern, value), f"{where}: {value!r}"


def converse_text(exchange: dict[str, Any], raw: bytes) -> str:
    """The text of an exchange as botocore reads it: every field of the model, nothing of ours."""
    from types import SimpleNamespace

    from botocore.eventstream import EventStream
    from botocore.parsers import create_parser

    stream = "events" in exchange
    shape = bedrock_model().operation_model("ConverseStream" if stream else "Converse").output_shape
    parser = create_parser("rest-json")
    if not stream:
        parsed = parser.parse({"status_code": 200, "headers": exchange["headers"], "body": raw}, shape)
        return "".join(block.get("text", "") for block in parsed["output"]["message"]["content"])
    events = EventStream(
        SimpleNamespace(stream=lambda: iter([raw]), close=lambda: None),
        shape.members["stream"],
        parser._event_stream_parser,
        "ConverseStream",
    )
    return "".join(event.get("contentBlockDelta", {}).get("delta", {}).get("text", "") for event in events)
