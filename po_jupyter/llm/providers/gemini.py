"""Google's Gemini API: `generateContent` and `streamGenerateContent`.

Reference: ai.google.dev/api/generate-content, ai.google.dev/gemini-api/docs/thinking, .../structured-output,
.../function-calling, .../thought-signatures.

* System messages go into `systemInstruction`, wherever they stand; the assistant's role is called `model`.
* A JSON Schema goes out as `responseJsonSchema`, without the keywords that the API does not know; those are
  told in words. With tools it is only told: the API does not take both.
* Effort: `thinkingLevel` from Gemini 3 on, `thinkingBudget` for 2.5; older models are not told.
* Parts are signed by models that think; with tool calls the whole turn is carried and goes back as it came.
* The count of thoughts comes beside that of the answer: ours has both in `output_tokens`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from po_jupyter.errors import ModelRefused
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.structured.dialects import JSON_ONLY, for_gemini, told
from po_jupyter.llm.wire.exchange import OneServer
from po_jupyter.llm.wire.http import Target
from po_jupyter.llm.wire.response_reader import Reading, count, part, rows, used, word
from po_jupyter.model.run.usage import Usage

_NAME = re.compile(r"(?:models/|tunedModels/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"gemini-(\d{1,2})(?:\.(\d{1,2}))?")
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
_SMALLEST_PRO_BUDGET = 128  # 2.5 Pro cannot leave thinking
_LEVELS = {"none": "minimal", "xhigh": "high", "max": "high"}
_REFUSED = frozenset(
    {"SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
     "ESCALATION", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "PUP_LIMITED_DISABLED"}
)  # fmt: skip
_FAILED = frozenset({"MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE", "OTHER"})


class Gemini(OneServer):
    """A provider for the Gemini API."""

    name = "gemini"
    key_env = "GEMINI_API_KEY"

    @cached_property
    def _targets(self) -> dict[tuple[str, bool], Target]:
        return {}

    def target(self, request: ChatRequest, *, stream: bool) -> Target:
        """See `OneServer`."""
        model = request.model_name
        target = self._targets.get((model, stream))
        if target is None:
            if not _NAME.fullmatch(model):  # it becomes a part of the URL
                raise ModelRefused(f"{model!r:.80} is not the name of a Gemini model")
            path = model if "/" in model else f"models/{model}"
            act = "streamGenerateContent?alt=sse" if stream else "generateContent"
            base = self._endpoint.base_url.rstrip("/").removesuffix("/v1beta")
            target = Target(
                f"{base}/v1beta/{path}:{act}",
                key=self._endpoint.key,
                name=self.name,
                key_header="x-goog-api-key",
            )
            self._targets[(model, stream)] = target
        return target

    def body(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """See `OneServer`."""
        return body_of(request, provider=self.name)

    def reading(self, request: ChatRequest) -> Reading:
        """See `OneServer`."""
        return GeminiReading(self.name, request, self._endpoint.key, self._key_env)


def body_of(request: ChatRequest, *, provider: str = "gemini") -> dict[str, Any]:
    """The JSON body of a generateContent request, streamed or not."""
    config: dict[str, Any] = {}
    system = [m.content for m in request.messages if m.role == "system"]
    if request.schema is not None:
        subset, lost = for_gemini(request.schema)
        if request.tools:
            lost = True
        else:
            config["responseMimeType"] = "application/json"
            config["responseJsonSchema"] = subset
        if lost:
            system.append(told(request.schema))
    elif request.json and request.tools:
        system.append(JSON_ONLY)
    elif request.json:
        config["responseMimeType"] = "application/json"
    body: dict[str, Any] = {"contents": _contents(request.messages, provider)}
    if system:
        body["systemInstruction"] = {"parts": [{"text": "\n\n".join(system)}]}
    if request.temperature is not None:
        config["temperature"] = request.temperature
    if request.max_tokens is not None:
        config["maxOutputTokens"] = request.max_tokens
    if request.stop:
        config["stopSequences"] = list(request.stop)
    if request.seed is not None:
        config["seed"] = request.seed
    if request.effort is not None and (thinking := _thinking(request.model_name, request.effort)):
        config["thinkingConfig"] = thinking
    if config:
        body["generationConfig"] = config
    if request.tools:
        declared = [
            {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters}
            for tool in request.tools
        ]
        body["tools"] = [{"functionDeclarations": declared}]
        if request.tool_choice:
            body["toolConfig"] = {"functionCallingConfig": _choice(request.tool_choice)}
    return body


def _thinking(model: str, effort: str) -> dict[str, Any] | None:
    found = _VERSION.match(model.rpartition("/")[2])
    version = (int(found[1]), int(found[2] or 0)) if found else (0, 0)
    pro = "pro" in model
    if version >= (3, 0):
        level = _LEVELS.get(effort, effort)
        return {"thinkingLevel": "low" if pro and level == "minimal" else level}
    if version >= (2, 5):
        return {"thinkingBudget": max(_BUDGETS[effort], _SMALLEST_PRO_BUDGET if pro else 0)}
    return None


def _contents(messages: tuple[Message, ...], provider: str) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # of the calls so far: a result names its function, not only its call
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls}
        if message.role == "system":
            continue
        if message.role == "tool":
            name = names.get(message.tool_call_id, message.tool_call_id)
            result: dict[str, Any] = {"name": name, "response": {"result": message.content}}
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


def _parts(message: Message, provider: str) -> list[dict[str, Any]]:
    carry = message.carry
    if carry is not None and carry.get("provider") == provider and "parts" in carry:
        return [dict(piece) for piece in carry["parts"]]
    parts: list[dict[str, Any]] = [
        {"inlineData": {"mimeType": image.mime, "data": image.data}} for image in message.images
    ]
    for call in message.tool_calls:
        made: dict[str, Any] = {"name": call.name, "args": dict(call.arguments)}
        if not call.id.startswith(_OWN_ID):
            made["id"] = call.id
        parts.append({"functionCall": made})
    if message.content or not parts:
        parts.insert(len(message.images), {"text": message.content})
    return parts


def _choice(choice: str) -> dict[str, Any]:
    if choice == "none":
        return {"mode": "NONE"}
    if choice == "required":
        return {"mode": "ANY"}
    return {"mode": "ANY", "allowedFunctionNames": [choice]}


class GeminiReading(Reading):
    """A GenerateContentResponse, or the several of a stream."""

    base_url_hint: ClassVar[str] = "Check the base URL: Gemini's has no /v1beta."

    def __init__(self, provider: str, request: ChatRequest, key: str | None, key_env: str) -> None:
        super().__init__(provider, request, key, key_env)
        self._parts: list[dict[str, Any]] = []

    def whole(self, said: dict[str, Any]) -> str:
        """See `Reading`."""
        text = self.event(said)
        if self.finish is None:
            if not rows(said.get("candidates")):
                raise self.shapeless("the answer has no candidate")
            self.finish = "stop"
        return text

    def event(self, said: dict[str, Any]) -> str:
        """See `Reading`."""
        self.model = word(said.get("modelVersion")) or self.model
        self.answer_id = word(said.get("responseId")) or self.answer_id
        if isinstance(said.get("usageMetadata"), Mapping):
            self.usage = usage_of(said["usageMetadata"])  # cumulative: the last word wins
        blocked = part(said, "promptFeedback").get("blockReason")
        if blocked:
            self.finish, self.refusal = "refused", f"it blocked the prompt ({blocked})"
        candidates = rows(said.get("candidates"))
        if not candidates:
            return ""
        self._ended_by(candidates[0])
        text: list[str] = []
        for piece in rows(part(candidates[0], "content").get("parts")):
            self._parts.append(dict(piece))
            call = part(piece, "functionCall")
            if call:
                self.call(
                    len(self._calls),
                    id=word(call.get("id")),
                    name=word(call.get("name")),
                    arguments=part(call, "args"),
                )
            elif piece.get("thought") is not True:
                text.append(word(piece.get("text")))
        return "".join(text)

    def _ended_by(self, candidate: Mapping[str, Any]) -> None:
        reason = word(candidate.get("finishReason"))
        if not reason:
            return
        if reason in _REFUSED:
            self.finish = "refused"
            self.refusal = word(candidate.get("finishMessage")) or f"its filter stopped the answer ({reason})"
        elif reason in _FAILED:
            self.finish = "failed"
            self.refusal = word(candidate.get("finishMessage")) or reason
        else:
            self.finish = {"STOP": "stop", "MAX_TOKENS": "length"}.get(reason, reason.lower())

    def last(self) -> None:
        """See `Reading`."""
        if self._calls and any("thoughtSignature" in piece for piece in self._parts):
            self.carry = {"provider": self.provider, "parts": self._parts}


def usage_of(said: Mapping[str, Any]) -> Usage:
    """The usage of a response: tokens of tools' results are input, thoughts are output."""
    thought = count(said.get("thoughtsTokenCount"))
    return used(
        count(said.get("promptTokenCount")) + count(said.get("toolUsePromptTokenCount")),
        count(said.get("candidatesTokenCount")) + thought,
        cached=count(said.get("cachedContentTokenCount")),
        reasoning=thought,
    )
