"""The wire of Google's Gemini API: `generateContent`, `streamGenerateContent` and `embedContent`.

Reference: ai.google.dev/api/generate-content, .../api/embeddings, ai.google.dev/gemini-api/docs/thinking,
.../structured-output, .../function-calling, .../thought-signatures.

* System messages go into `systemInstruction`, wherever they stand; the assistant's role is called `model`.
* A JSON Schema goes out as `responseJsonSchema`, without the keywords that the API does not know; those go
  as text. With tools the schema is text only: the API does not take both.
* Effort: `thinkingLevel` from Gemini 3 on, `thinkingBudget` for 2.5; older models get neither.
* Parts are signed by models that think; with tool calls the whole turn is carried and goes back as it came.
* The count of thoughts comes beside that of the answer: ours has both in `output_tokens`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from po_jupyter.errors import ModelRefused
from po_jupyter.llm.bounds import output_limit
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.logprobs import ALTERNATIVES, alternatives_of, read_tokens
from po_jupyter.llm.money.service_tiers import wire_tier
from po_jupyter.llm.structured.dialects import JSON_ONLY, gemini_schema, schema_as_text, with_turn
from po_jupyter.llm.wire.ends import end_of
from po_jupyter.llm.wire.json_fields import as_text, mapping_at, mappings_in
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.llm.wire.stop_sequences import StopCutter
from po_jupyter.llm.wire.usage import gemini_usage
from po_jupyter.llm.wire.vector_reader import VectorReader
from po_jupyter.model.values.json import JsonObject

_NAME = re.compile(r"(?:models/|tunedModels/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"gemini-(\d{1,2})(?:\.(\d{1,2}))?")
_LATEST = re.compile(r"gemini-[a-z-]+-latest")  # whatever is newest
_NEWEST = (99, 0)
# "OpenAI compatibility" of the Gemini API maps efforts to these budgets.
_BUDGETS = {
    "none": 0,
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 24576,
    "max": 24576,
}
_MOST_STOPS = 5
_SMALLEST_PRO_BUDGET = 128  # 2.5 Pro cannot leave thinking
_TIERS = {"flex": "flex", "standard": "standard", "priority": "priority"}
_LEVELS = {"none": "minimal", "xhigh": "high", "max": "high"}


def model_path(model: str) -> str:
    """The part of a URL that a model is. Raises ModelRefused for a name that cannot be one."""
    if not _NAME.fullmatch(model):
        raise ModelRefused(f"{model!r:.80} is not the name of a Gemini model")
    return model if "/" in model else f"models/{model}"


def method_of(request: ChatRequest, *, stream: bool) -> str:
    """The method of a model that a request goes to."""
    if request.embed:
        return "embedContent"
    return "streamGenerateContent?alt=sse" if stream else "generateContent"


def embed_body(request: ChatRequest) -> JsonObject:
    """The JSON body of an embedContent request."""
    return {"content": {"parts": [{"text": request.messages[-1].content}]}}


def request_body(request: ChatRequest, *, provider: str = "gemini") -> JsonObject:
    """The JSON body of a generateContent request, streamed or not."""
    messages = with_turn(request.messages)
    system = [m.content for m in messages if m.role == "system"]
    config: JsonObject = {}
    system += _add_format(config, request)
    body: JsonObject = {"contents": _contents(messages, provider)}
    if system:
        body["systemInstruction"] = {"parts": [{"text": "\n\n".join(system)}]}
    _add_sampling(config, request)
    if config:
        body["generationConfig"] = config
    if request.tools:
        declared = [
            {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters}
            for tool in request.tools
        ]
        body["tools"] = [{"functionDeclarations": declared}]
        if request.tool_choice:
            body["toolConfig"] = {"functionCallingConfig": _tool_choice(request.tool_choice)}
    if (tier := wire_tier(request, _TIERS)) is not None:
        body["serviceTier"] = tier
    return body


def _add_format(config: JsonObject, request: ChatRequest) -> list[str]:
    """Ask for JSON; the instructions for what the API does not enforce."""
    if request.schema is not None:
        schema, lossy = gemini_schema(request.schema)
        if not request.tools:
            config["responseMimeType"] = "application/json"
            config["responseJsonSchema"] = schema
        return [schema_as_text(request.schema)] if lossy or request.tools else []
    if request.json and request.tools:
        return [JSON_ONLY]
    if request.json:
        config["responseMimeType"] = "application/json"
    return []


def _add_sampling(config: JsonObject, request: ChatRequest) -> None:
    if request.temperature is not None:
        config["temperature"] = request.temperature
    if (limit := output_limit(request)) is not None:
        config["maxOutputTokens"] = limit
    if request.stop:
        config["stopSequences"] = list(request.stop[:_MOST_STOPS])
    if request.seed is not None:
        config["seed"] = (request.seed + 2**31) % 2**32 - 2**31  # the field has 32 bits
    if request.logprobs:
        config |= {"responseLogprobs": True, "logprobs": ALTERNATIVES}
    if request.effort is not None and (
        thinking := _thinking(request.model_name, request.effort, request.max_thinking_tokens)
    ):
        config["thinkingConfig"] = thinking


def _thinking(model: str, effort: str, most: int | None) -> JsonObject | None:
    """The `thinkingConfig` for an effort and at most so many tokens; None for a model that has none."""
    name = model.rpartition("/")[2]
    match = _VERSION.match(name)
    version = (int(match[1]), int(match[2] or 0)) if match else _NEWEST if _LATEST.fullmatch(name) else (0, 0)
    pro = "pro" in model
    if version >= (3, 0):
        level = _LEVELS.get(effort, effort)
        return {"thinkingLevel": "low" if pro and level == "minimal" else level}
    if version >= (2, 5):
        budget = _BUDGETS[effort] if most is None else min(_BUDGETS[effort], most)
        return {"thinkingBudget": max(budget, _SMALLEST_PRO_BUDGET if pro else 0)}
    return None


def _contents(messages: tuple[Message, ...], provider: str) -> list[JsonObject]:
    """The `contents` of a body: without system messages, the results of one turn's tools in one message."""
    turns: list[JsonObject] = []
    names: dict[str, str] = {}  # of the calls so far: a result names its function, not only its call
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls}
        if message.role == "system":
            continue
        if message.role == "tool":
            name = names.get(message.tool_call_id, message.tool_call_id)
            result: JsonObject = {"name": name, "response": {"result": message.content}}
            if not message.tool_call_id.startswith(_OWN_ID):
                result["id"] = message.tool_call_id
            turn = {"functionResponse": result}
            if turns and turns[-1]["role"] == "user" and "functionResponse" in turns[-1]["parts"][-1]:
                turns[-1]["parts"].append(turn)
            else:
                turns.append({"role": "user", "parts": [turn]})
            continue
        role = "model" if message.role == "assistant" else "user"
        turns.append({"role": role, "parts": _parts(message, provider)})
    return turns


_OWN_ID = "call_"  # made up here, for calls that came without an id


def _parts(message: Message, provider: str) -> list[JsonObject]:
    carry = message.carry
    if carry is not None and carry.get("provider") == provider and "parts" in carry:
        return [dict(part) for part in carry["parts"]]
    parts: list[JsonObject] = [_inline(image.mime, image.data) for image in message.images]
    parts += [_inline(file.mime, file.data) for file in message.files]
    for call in message.tool_calls:
        function: JsonObject = {"name": call.name, "args": dict(call.arguments)}
        if not call.id.startswith(_OWN_ID):
            function["id"] = call.id
        parts.append({"functionCall": function})
    if message.content or not parts:
        parts.insert(len(message.images) + len(message.files), {"text": message.content})
    return parts


def _inline(mime: str, data: str) -> JsonObject:
    return {"inlineData": {"mimeType": mime, "data": data}}


def _tool_choice(choice: str) -> JsonObject:
    if choice == "none":
        return {"mode": "NONE"}
    if choice == "required":
        return {"mode": "ANY"}
    return {"mode": "ANY", "allowedFunctionNames": [choice]}


class GeminiReader(ResponseReader):
    """The reader of a GenerateContentResponse, or of the several of a stream."""

    base_url_hint: ClassVar[str] = "Check the base URL: Gemini's has no /v1beta."

    def __init__(self, provider: str, request: ChatRequest, key: str | None, key_env: str) -> None:
        """See `ResponseReader`."""
        super().__init__(provider, request, key, key_env)
        self._parts: list[JsonObject] = []
        if len(request.stop) > _MOST_STOPS:
            self.cutter = StopCutter(request.stop)

    def read_body(self, body: JsonObject) -> str:
        """The text of a whole response."""
        text = self.read_event(body)
        if self.finish is None:
            if not mappings_in(body.get("candidates")):
                raise self.malformed("the answer has no candidate")
            self.finish = "stop"
        return text

    def read_event(self, event: JsonObject) -> str:
        """The text of one response of a stream."""
        self.model = as_text(event.get("modelVersion")) or self.model
        self.answer_id = as_text(event.get("responseId")) or self.answer_id
        self.read_usage(event)
        blocked = mapping_at(event, "promptFeedback").get("blockReason")
        if blocked:
            self.finish, self.refusal = "refused", f"it blocked the prompt ({blocked})"
        candidates = mappings_in(event.get("candidates"))
        if not candidates:
            return ""
        self._read_finish(candidates[0])
        if self.request.logprobs:
            self._read_logprobs(mapping_at(candidates[0], "logprobsResult"))
        return self._read_parts(mappings_in(mapping_at(candidates[0], "content").get("parts")))

    def read_usage(self, body: JsonObject) -> None:
        """The usage of a response; cumulative: the last one wins."""
        if isinstance(body.get("usageMetadata"), Mapping):
            usage = gemini_usage(body["usageMetadata"])
            if self.usage is None or usage.input_tokens or usage.output_tokens:
                self.usage = usage
            self.read_tier(body["usageMetadata"].get("serviceTier"))

    def _read_parts(self, parts: list[JsonObject]) -> str:
        """The text of parts; tool calls are added."""
        text: list[str] = []
        for part in parts:
            self._parts.append(dict(part))
            call = mapping_at(part, "functionCall")
            if call:
                self.add_tool_call(
                    len(self._tool_calls),
                    id=as_text(call.get("id")),
                    name=as_text(call.get("name")),
                    arguments=mapping_at(call, "args"),
                )
            elif part.get("thought") is not True:
                text.append(as_text(part.get("text")))
        return "".join(text)

    def _read_logprobs(self, result: Mapping[str, object]) -> None:
        others = mappings_in(result.get("topCandidates"))
        chosen = read_tokens(mappings_in(result.get("chosenCandidates")), logprob="logProbability")
        for n, token in enumerate(chosen):
            beside = others[n].get("candidates") if n < len(others) else None
            self.logprobs.append(token._replace(alternatives=alternatives_of(beside, "logProbability")))

    def _read_finish(self, candidate: Mapping[str, object]) -> None:
        reason = as_text(candidate.get("finishReason"))
        if not reason:
            return
        message = as_text(candidate.get("finishMessage"))
        self.finish = end_of(reason)
        if self.finish == "refused":
            self.refusal = message or f"its filter stopped the answer ({reason})"
        elif self.finish == "failed":
            self.refusal = message or reason

    def before_response(self) -> None:
        """Carry a signed turn with tool calls; the tier is in the headers where the usage does not name it."""
        if not self.service_tier:
            self.read_tier(self.headers.get("x-gemini-service-tier"))
        if self.has_tool_calls and any("thoughtSignature" in part for part in self._parts):
            self.carry = {"provider": self.provider, "parts": self._parts}


class EmbedContentReader(VectorReader):
    """The reader of an EmbedContentResponse, which may come without a usage."""

    base_url_hint: ClassVar[str] = GeminiReader.base_url_hint

    def numbers_in(self, body: JsonObject) -> object:
        """See `VectorReader`."""
        return mapping_at(body, "embedding").get("values")

    def read_usage(self, body: JsonObject) -> None:
        """The usage of a body."""
        if isinstance(body.get("usageMetadata"), Mapping):
            self.usage = gemini_usage(body["usageMetadata"])
