"""The wire of Amazon Bedrock's Converse API: request bodies and responses, one shape for every maker's models.

Reference: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and the model of bedrock-runtime in
botocore 1.44, read 2026-11.

* System messages go into `system`, wherever they stand; turns of one role in a row are one turn.
* A JSON Schema is enforced (`outputConfig`) on Claude from 4.5 on, as far as the API can; else by a tool that the model
  has to call (Claude, Nova, Mistral's large ones), whose input is the answer. Where tools are offered, or Claude is to
  think before it answers, and for all other models, the schema is text.
* Effort: what the maker's own API takes, in `additionalModelRequestFields`; models that are not known to have one get
  none. There is no seed. Thinking is signed; with tool calls the whole turn is carried and goes back.
* What the rows of a map have in common is marked for the cache, where a model is known to have one.
* `inputTokens` leaves out what came from the cache or went into it; ours has it all. Thoughts are output, and nobody
  counts them.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import ClassVar

from po_jupyter.errors import ModelError, ModelRefused
from po_jupyter.llm.audio import documents_in
from po_jupyter.llm.bounds import output_limit, thinks
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.documents import Document
from po_jupyter.llm.money.service_tiers import wire_tier
from po_jupyter.llm.providers.anthropic.messages import MAX_TOKENS, add_thinking, cache_mark, version_of
from po_jupyter.llm.providers.bedrock.errors import explain, in_common_shape
from po_jupyter.llm.structured.dialects import JSON_ONLY, anthropic_schema, schema_as_text, with_turn
from po_jupyter.llm.structured.openai_schema import openai_schema
from po_jupyter.llm.wire.bodies import HttpResponse, ResponseStream
from po_jupyter.llm.wire.ends import end_of
from po_jupyter.llm.wire.event_stream import aws_events
from po_jupyter.llm.wire.json_fields import as_text, mapping_at, mappings_in
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.llm.wire.stop_sequences import StopCutter
from po_jupyter.llm.wire.usage import converse_usage
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.digests import short_digest
from po_jupyter.model.values.json import JsonObject

ANSWER_TOOL = "give_answer"
_MAX_DOCUMENT = 4_500_000  # bytes ("Message", API reference of Converse)
_SYSTEM = -1  # the place of a mark
_FORCED = re.compile(r"claude-(?!instant)|nova-|mistral-large|pixtral-large")
_FORCED_BY_ANY = re.compile(r"mistral-large|pixtral-large")
_CACHED = re.compile(
    r"claude-(?!instant|v?[12]\b|3-(?:opus|sonnet|haiku|5-sonnet-20240620))|nova-(?:micro|lite|pro|premier|2)"
)
_NOVA_2 = re.compile(r"nova-2")
_TIERS = {"flex": "flex", "standard": "default", "priority": "priority"}
_LOW_TO_HIGH = {"minimal": "low", "xhigh": "high", "max": "high"}


def _enforcement(request: ChatRequest) -> str:
    """How a request's schema is enforced: by `format`, by a `tool`, or not at all (as `text`)."""
    if request.schema is None:
        return "text"
    claude = "claude" in request.model_name
    if claude and version_of(request.model_name) >= (4, 5):
        return "format"
    thinking = claude and thinks(request.model, request.effort)
    return "tool" if _FORCED.search(request.model_name) and not request.tools and not thinking else "text"


def request_body(request: ChatRequest, *, provider: str = "bedrock") -> JsonObject:
    """The JSON body of a Converse request, streamed or not."""
    messages = with_turn(request.messages)
    system = [m.content for m in messages if m.role == "system"]
    body: JsonObject = {}
    system += _add_format(body, request)
    marked = cache_mark(messages, request) if _CACHED.search(request.model_name) else None
    body["messages"] = _turns(messages, provider, marked)
    if system:
        body["system"] = [{"text": text} for text in ["\n\n".join(system)] if text.strip()]
        if marked == _SYSTEM:
            body["system"].append(_CACHE_POINT)
    thinking = _add_thinking(body, request)
    _add_sampling(body, request, thinking)
    if request.tools:
        _add_tools(body, request)
    if (tier := wire_tier(request, _TIERS)) is not None:
        body["serviceTier"] = {"type": tier}
    return body


_CACHE_POINT: JsonObject = {"cachePoint": {"type": "default"}}


def _add_format(body: JsonObject, request: ChatRequest) -> list[str]:
    """Ask for JSON; the instructions for what the API does not enforce."""
    if request.schema is None:
        return [JSON_ONLY] if request.json else []
    how = _enforcement(request)
    if how == "format":
        enforced, lossy = anthropic_schema(request.schema)
        if enforced is not None:
            schema = {"name": "answer", "schema": json.dumps(enforced, ensure_ascii=False)}
            body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
        return [schema_as_text(request.schema)] if lossy else []
    if how == "text":
        return [schema_as_text(request.schema)]
    shape = openai_schema(request.schema, strict=False).schema
    tool = {"name": ANSWER_TOOL, "description": "Give the answer.", "inputSchema": {"json": shape}}
    one = {"any": {}} if _FORCED_BY_ANY.search(request.model_name) else {"tool": {"name": ANSWER_TOOL}}
    body["toolConfig"] = {"tools": [{"toolSpec": tool}], "toolChoice": one}
    return []


def _add_sampling(body: JsonObject, request: ChatRequest, thinking: JsonObject) -> None:
    config: JsonObject = {}
    limit = output_limit(request)
    if thinking.get("max_tokens"):
        limit = thinking["max_tokens"]
    if limit is not None:
        config["maxTokens"] = limit
    claude = "claude" in request.model_name
    fixed = claude and (bool(thinking) or version_of(request.model_name) >= (4, 7))
    if request.temperature is not None and not fixed:
        config["temperature"] = min(request.temperature, 1.0)
    if stops := [stop for stop in request.stop if stop.strip()]:
        config["stopSequences"] = stops
    if config:
        body["inferenceConfig"] = config


def _add_thinking(body: JsonObject, request: ChatRequest) -> JsonObject:
    """Ask for thinking, or for none; what it makes of the request, empty when the model does not think."""
    effort, model, fields, made = request.effort, request.model_name, {}, {}
    if "claude" in model:
        output: JsonObject = {}
        bounded = request if request.max_tokens else replace(request, max_tokens=MAX_TOKENS)
        scratch: JsonObject = {"max_tokens": output_limit(bounded)}
        if add_thinking(scratch, output, request, version_of(model)):
            made = {"max_tokens": scratch["max_tokens"] if effort is not None else 0, "thinks": True}
        if "thinking" in scratch:
            fields["thinking"] = scratch["thinking"]
        if output:
            fields["output_config"] = output
    elif effort is not None and re.search(r"openai\.gpt-", model):
        fields["reasoning_effort"] = "low" if effort == "none" else _LOW_TO_HIGH.get(effort, effort)
    elif effort is not None and effort != "none" and "qwen3" in model:
        fields["reasoning_config"] = "low" if effort in ("minimal", "low") else "high"
    elif effort is not None and _NOVA_2.search(model):
        level = {"type": "enabled", "maxReasoningEffort": _LOW_TO_HIGH.get(effort, effort)}
        fields["reasoningConfig"] = {"type": "disabled"} if effort == "none" else level
    if fields:
        body["additionalModelRequestFields"] = fields
    return made


def _add_tools(body: JsonObject, request: ChatRequest) -> None:
    specs = []
    for tool in request.tools:
        spec: JsonObject = {"name": tool.name, "inputSchema": {"json": dict(tool.parameters)}}
        if tool.description.strip():
            spec["description"] = tool.description
        specs.append({"toolSpec": spec})
    config: JsonObject = {"tools": specs}
    choice = request.tool_choice
    if choice and (choice == "none" or not _FORCED.search(request.model_name)):
        config["toolChoice"] = {"auto": {}}  # there is no `none`, and other models cannot be forced
    elif choice == "required" or (choice and _FORCED_BY_ANY.search(request.model_name)):
        config["toolChoice"] = {"any": {}}
    elif choice:
        config["toolChoice"] = {"tool": {"name": choice}}
    body["toolConfig"] = config


def _turns(messages: tuple[Message, ...], provider: str, marked: int | None) -> list[JsonObject]:
    """The `messages` of a body: without system messages, and with no two turns of one role in a row."""
    turns: list[JsonObject] = []
    for n, message in enumerate(messages):
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        content = _content(message, provider, n == marked)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += content
        else:
            turns.append({"role": role, "content": content})
    return turns


def _content(message: Message, provider: str, marked: bool) -> list[JsonObject]:
    """The blocks of a turn: as they came for a carried one."""
    carry = message.carry
    if carry is not None and carry.get("provider") == provider and "content" in carry:
        return list(carry["content"])
    if message.role == "tool":
        results = [{"text": message.content}] if message.content.strip() else []
        return [{"toolResult": {"toolUseId": message.tool_call_id, "content": results}}]
    if marked:
        first, rest = message.content[: message.shared], message.content[message.shared :]
        return [{"text": first}, _CACHE_POINT, *([{"text": rest}] if rest.strip() else [])]
    blocks: list[JsonObject] = [
        {"image": {"format": image.mime.partition("/")[2], "source": {"bytes": image.data}}}
        for image in message.images
    ]
    blocks += [_document(file, n) for n, file in enumerate(documents_in(message.files, "bedrock"), 1)]
    if message.content or not (message.images or message.files or message.tool_calls):
        blocks.append({"text": message.content})
    blocks += [
        {"toolUse": {"toolUseId": call.id, "name": call.name, "input": dict(call.arguments)}}
        for call in message.tool_calls
    ]
    return blocks


def _document(file: Document, n: int) -> JsonObject:
    """The block of a document. Its name has to be another than those of all others in the request, and says nothing: a
    model might take it for an instruction. Raises ModelRefused for one that the API refuses."""
    if len(file.data) * 3 // 4 > _MAX_DOCUMENT:
        raise ModelRefused(
            f"bedrock takes documents of at most {_MAX_DOCUMENT / 1_000_000:.1f} MB, and this one has "
            f"{len(file.data) * 3 / 4_000_000:.1f} MB"
        )
    name = f"document-{short_digest(file.data)[:8]}-{n}"
    return {"document": {"format": "pdf", "name": name, "source": {"bytes": file.data}}}


class ConverseReader(ResponseReader):
    """The reader of a Converse response, or of the events of a ConverseStream."""

    base_url_hint: ClassVar[str] = (
        "Check the base URL: Bedrock's is https://bedrock-runtime.REGION.amazonaws.com."
    )

    def __init__(
        self, provider: str, request: ChatRequest, key: str | None, key_env: str, region: str = ""
    ) -> None:
        """See `ResponseReader`; `region` is for messages."""
        super().__init__(provider, request, key, key_env)
        self._region = region
        self._blocks: dict[int, JsonObject] = {}
        self._aside: list[str] = []  # text beside the call of the tool that is the answer
        self._by_tool = _enforcement(request) == "tool"
        self._answered = False
        if self._by_tool and request.schema is not None:
            self.wrapped = openai_schema(request.schema, strict=False).wrapped
        if any(not stop.strip() for stop in request.stop):  # the API refuses those
            self.cutter = StopCutter(request.stop)

    def events(self, response: ResponseStream) -> AsyncIterator[bytes]:
        """The frames of Amazon's event stream."""
        return aws_events(response)

    def error_from(self, response: HttpResponse) -> ModelError:
        """The error of a response, with what to do about it."""
        error = super().error_from(in_common_shape(response))
        explain(error, response, self._region)
        return error

    def read_body(self, body: JsonObject) -> str:
        """The text of a response."""
        content = mapping_at(mapping_at(body, "output"), "message").get("content")
        if not isinstance(content, list):
            raise self.malformed()
        self._read_end(body)
        self.read_usage(body)
        self._blocks = {n: dict(block) for n, block in enumerate(mappings_in(content))}
        texts = [as_text(block.get("text")) for block in self._blocks.values()]
        if not self._by_tool:
            return "".join(texts)
        call = next((mapping_at(block, "toolUse") for block in self._blocks.values() if "toolUse" in block), {})
        if call.get("name") == ANSWER_TOOL:
            self._answered = True
            return json.dumps(call.get("input"), ensure_ascii=False)
        self.wrapped = False
        return "".join(texts)

    def read_event(self, event: JsonObject) -> str:
        """The text of one event."""
        for name, value in event.items():
            fields: Mapping[str, object] = value if isinstance(value, Mapping) else {}
            if name == "contentBlockDelta":
                return self._read_delta(fields.get("contentBlockIndex"), mapping_at(fields, "delta"))
            if name == "contentBlockStart":
                index, use = fields.get("contentBlockIndex"), mapping_at(mapping_at(fields, "start"), "toolUse")
                if isinstance(index, int) and use:
                    self._blocks.setdefault(index, {"toolUse": {**use, "partial": ""}})
            elif name == "messageStop":
                self._read_end(fields)
            elif name == "metadata":
                self.read_usage(dict(fields))
                self.ended = self.finish is not None
        return ""

    def _read_delta(self, index: object, delta: Mapping[str, object]) -> str:
        if not isinstance(index, int):
            raise self.malformed("the stream holds a piece of no block")
        block = self._blocks.setdefault(index, {})
        if "text" in delta:
            text = as_text(delta.get("text"))
            block["text"] = as_text(block.get("text")) + text
            if self._by_tool:
                self._aside.append(text)
                return ""
            return text
        if "toolUse" in delta and "toolUse" in block:
            piece = as_text(mapping_at(delta, "toolUse").get("input"))
            block["toolUse"]["partial"] += piece
            if self._by_tool and block["toolUse"].get("name") == ANSWER_TOOL:
                self._answered = True
                return piece
        elif "reasoningContent" in delta:
            _add_reasoning(block, mapping_at(delta, "reasoningContent"))
        return ""

    def _read_end(self, fields: Mapping[str, object]) -> None:
        reason = as_text(fields.get("stopReason"))
        self.finish = end_of(reason) or self.finish
        if reason == "guardrail_intervened":
            self.refusal = "a guardrail stopped the answer"
        elif self.finish == "failed":
            self.refusal = reason
        elif self.finish == "tool_calls" and self._by_tool:
            self.finish = "stop"

    def read_usage(self, body: JsonObject) -> None:
        """The usage of a response, or of a stream's last event; and the model that a router chose."""
        if isinstance(body.get("usage"), Mapping):
            self.usage = converse_usage(body["usage"])
        self.read_tier(mapping_at(body, "serviceTier").get("type"))
        router = mapping_at(mapping_at(body, "trace"), "promptRouter")
        self.model = as_text(router.get("invokedModelId")).rpartition("/")[2] or self.model

    def before_response(self) -> None:
        """Add the tool calls; with thinking beside them the turn is carried."""
        if self._aside and not self._answered:
            self._pieces += self._aside
        for n, block in self._blocks.items():
            use = block.get("toolUse")
            if isinstance(use, Mapping) and not (self._by_tool and use.get("name") == ANSWER_TOOL):
                arguments = use["partial"] if "partial" in use else mapping_at(use, "input")
                self.add_tool_call(
                    n, id=as_text(use.get("toolUseId")), name=as_text(use.get("name")), arguments=arguments
                )
        if self.has_tool_calls and any("reasoningContent" in block for block in self._blocks.values()):
            calls = iter(self._made_tool_calls(self.usage or Usage()))
            content: list[JsonObject] = []
            for block in self._blocks.values():
                use = block.get("toolUse")
                if isinstance(use, Mapping):
                    call = next(calls)
                    made = {"toolUseId": call.id, "name": call.name, "input": dict(call.arguments)}
                    block = {"toolUse": made}
                content.append(block)
            self.carry = {"provider": self.provider, "content": content}


def _add_reasoning(block: JsonObject, delta: Mapping[str, object]) -> None:
    """Add a piece of a thought to its block, in the shape that goes back."""
    reasoning = block.setdefault("reasoningContent", {})
    if "redactedContent" in delta:
        reasoning["redactedContent"] = as_text(delta.get("redactedContent"))
        return
    text = reasoning.setdefault("reasoningText", {"text": ""})
    text["text"] += as_text(delta.get("text"))
    if "signature" in delta:
        text["signature"] = as_text(text.get("signature")) + as_text(delta.get("signature"))
