"""OpenAI's Chat Completions API, and every server that speaks it.

Reference: developers.openai.com/api/reference (Chat, "Create chat completion"). Where a server differs is data
(`compatible.Quirks`).

* A JSON Schema goes out as `response_format: json_schema` with `strict: false`: strict mode refuses schemas
  that do not list every property as required and close every object, and most that people write do not. The
  answer is validated here anyway. A server without schemas gets JSON mode and the schema in words.
* A temperature that nobody set is not sent; models that refuse one (OpenAI's that reason, Kimi's) are sent none
  at all, and their own name for the limit.
* JSON mode needs the word JSON in a message; when nobody said it, a system message does.
* Text that a model thought in (`reasoning_content`) is no part of the answer. With tool calls it is carried,
  and goes back to the same server with the results: DeepSeek, Kimi and GLM ask for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from po_jupyter.errors import ModelKeyError, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message, OnText
from po_jupyter.llm.providers.compatible.family import OPENAI, Quirks
from po_jupyter.llm.structured.dialects import JSON_ONLY, instructed, told
from po_jupyter.llm.wire.exchange import DEFAULT_TIMEOUT, Endpoint, Resolver, exchange
from po_jupyter.llm.wire.http import Http, Target
from po_jupyter.llm.wire.response_reader import Reading, count, part, rows, used, word
from po_jupyter.llm.wire.stop_sequences import StopCutter
from po_jupyter.model.run.usage import Usage


class ChatCompletions:
    """A provider for one server, or (with a resolver) for one server per model."""

    def __init__(
        self,
        endpoint: Endpoint | Resolver,
        http: Http,
        *,
        name: str = "openai",
        key_env: str = "OPENAI_API_KEY",
        timeout: float = DEFAULT_TIMEOUT,
        quirks: Quirks = OPENAI,
        adapt: Callable[[dict[str, Any]], None] | None = None,
        keep_cut_text: bool = False,
    ) -> None:
        """`adapt` changes the body of a request in place, for what `quirks` cannot say.

        `keep_cut_text`: free text that stopped at `max_tokens` is an answer (with `finish="length"`), not
        an AnswerTruncated. Cut JSON is one always.
        """
        self.name = name
        self._key_env = key_env
        self._http = http
        self._timeout = timeout
        self._quirks = quirks
        self._adapt = adapt
        self._keep_cut_text = keep_cut_text
        self._resolve = endpoint if callable(endpoint) else None
        self._one = None if callable(endpoint) else self._aim(endpoint)
        self._aimed: dict[str, tuple[Target, str | None]] = {}

    def _aim(self, endpoint: Endpoint) -> tuple[Target, str | None]:
        url = endpoint.base_url.rstrip("/") + "/chat/completions"
        return Target(url, key=endpoint.key, name=self.name), endpoint.key

    async def _where(self, model: str) -> tuple[Target, str | None]:
        if self._resolve is None:
            assert self._one is not None
            return self._one
        if model not in self._aimed:
            self._aimed[model] = self._aim(await self._resolve(model))
        return self._aimed[model]

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        """See `llm.chat.Provider`."""
        target, key = await self._where(request.model_name)
        body = body_of(request, stream=on_text is not None, quirks=self._quirks, provider=self.name)
        if self._adapt is not None:
            self._adapt(body)
        reading = ChatReading(self.name, request, key, self._key_env, self._quirks)
        reading.keep_cut_text = self._keep_cut_text and request.schema is None and not request.json
        seconds = request.timeout or self._timeout
        try:
            return await exchange(self._http, target, body, reading, seconds=seconds, on_text=on_text)
        except (ModelUnavailable, ModelKeyError):
            # A server that was started anew has another port and key: look again before the next try.
            self._aimed.pop(request.model_name, None)
            raise

    async def aclose(self) -> None:
        """Nothing: the connections belong to `Http`."""


def body_of(
    request: ChatRequest, *, stream: bool, quirks: Quirks = OPENAI, provider: str = "openai"
) -> dict[str, Any]:
    """The JSON body of a Chat Completions request."""
    model = request.model_name
    body: dict[str, Any] = {"model": model, "messages": []}
    if request.temperature is not None and not _fits(quirks.fixed_sampling, model):
        body["temperature"] = request.temperature
    if request.max_tokens is not None:
        body["max_completion_tokens" if _fits(quirks.own_limit, model) else "max_tokens"] = request.max_tokens
    messages = _shape(body, request, quirks)
    body["messages"] = [_message(m, provider) for m in messages]
    if request.stop and not _fits(quirks.no_stop, model):
        body["stop"] = list(request.stop)
    if request.seed is not None and quirks.seed:
        body["seed"] = request.seed
    if request.effort is not None:
        _effort(body, request.effort, quirks.effort_style(model), quirks)
    if request.tools:
        body["tools"] = [{"type": "function", "function": tool.to_json()} for tool in request.tools]
        if choice := _choice(request.tool_choice, quirks):
            body["tool_choice"] = choice
    if quirks.extra:
        body |= quirks.extra
    if stream:
        body["stream"] = True
        if quirks.stream_usage:
            body["stream_options"] = {"include_usage": True}
    return body


def _fits(pattern: str, model: str) -> bool:
    return bool(pattern) and re.match(pattern, model) is not None


def _shape(body: dict[str, Any], request: ChatRequest, quirks: Quirks) -> tuple[Message, ...]:
    """Ask for the shape of the answer; the messages, with what has to be said in words."""
    messages = request.messages
    if request.schema is not None:
        if quirks.schema == "schema":
            wanted = {"name": "answer", "schema": request.schema, "strict": False}
            body["response_format"] = {"type": "json_schema", "json_schema": wanted}
            return messages
        messages = instructed(messages, told(request.schema))
    elif not request.json:
        return messages
    elif not quirks.json_object:
        return instructed(messages, JSON_ONLY)
    elif not any("json" in m.content.lower() for m in messages):
        messages = instructed(messages, JSON_ONLY)
    kinds = request.schema.get("type", "object") if request.schema is not None else "object"
    if quirks.json_object and kinds == "object":  # JSON mode knows objects only
        body["response_format"] = {"type": "json_object"}
    return messages


def _message(message: Message, provider: str) -> dict[str, Any]:
    content: Any = message.content
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": content}
    if message.images:
        content = [{"type": "image_url", "image_url": {"url": image.url}} for image in message.images]
        if message.content:
            content.insert(0, {"type": "text", "text": message.content})
    said: dict[str, Any] = {"role": message.role, "content": content}
    if message.tool_calls:
        said["content"] = content or None
        said["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for call in message.tool_calls
        ]
    carry = message.carry
    if carry is not None and carry.get("provider") == provider:
        said["reasoning_content"] = carry["reasoning_content"]
    return said


def _effort(body: dict[str, Any], effort: str, style: str | None, quirks: Quirks) -> None:
    if style == "reasoning_effort":
        body["reasoning_effort"] = quirks.efforts.get(effort, effort)
    elif style == "thinking":
        body["thinking"] = {"type": "disabled" if effort == "none" else "enabled"}
    elif style == "enable_thinking":
        body["enable_thinking"] = effort != "none"
    elif style == "reasoning":
        body["reasoning"] = {"effort": effort}


def _choice(choice: str, quirks: Quirks) -> Any:
    if choice in ("", "none"):
        return choice or None
    if not quirks.forced_tools:
        return "auto"
    return "required" if choice == "required" else {"type": "function", "function": {"name": choice}}


class ChatReading(Reading):
    """A `chat.completion`, or its chunks."""

    base_url_hint: ClassVar[str] = "Check the base URL: OpenAI's kind includes /v1."
    api: ClassVar[str] = "chat"

    def __init__(
        self, provider: str, request: ChatRequest, key: str | None, key_env: str, quirks: Quirks
    ) -> None:
        super().__init__(provider, request, key, key_env)
        self._quirks = quirks
        self._thought: list[str] = []
        if request.stop and _fits(quirks.no_stop, request.model_name):
            self.cutter = StopCutter(request.stop)

    def whole(self, said: dict[str, Any]) -> str:
        """See `Reading`."""
        choices = rows(said.get("choices"))
        message = choices[0].get("message") if choices else None
        if not isinstance(message, dict):
            raise self.shapeless()
        self.answer_id = word(said.get("id"))
        self.model = word(said.get("model"))
        self.usage = usage_of(said.get("usage"), says_cost=self._quirks.says_cost)
        self._ended_by(choices[0], "stop")
        return self._said(message)

    def event(self, said: dict[str, Any]) -> str:
        """See `Reading`."""
        self.model = self.model or word(said.get("model"))
        self.answer_id = self.answer_id or word(said.get("id"))
        if (usage := usage_of(said.get("usage"), says_cost=self._quirks.says_cost)) is not None:
            self.usage = usage
        choices = rows(said.get("choices"))
        if not choices:
            return ""
        self._ended_by(choices[0], self.finish)
        return self._said(part(choices[0], "delta"))

    def _ended_by(self, choice: Mapping[str, Any], otherwise: str | None) -> None:
        reason = word(choice.get("finish_reason"))
        if reason == "content_filter":
            reason = "refused"
        elif reason == "function_call":
            reason = "tool_calls"
        self.finish = self._quirks.ends.get(reason, reason) or otherwise

    def _said(self, message: Mapping[str, Any]) -> str:
        """The text of a message or a delta; refusal, thoughts and tool calls are kept."""
        self.refusal += word(message.get("refusal"))
        self._thought.append(word(message.get("reasoning_content")))
        calls = message.get("tool_calls")
        if calls:
            for n, call in enumerate(rows(calls)):
                function = part(call, "function")
                arguments = function.get("arguments")
                self.call(
                    call.get("index", n),
                    id=word(call.get("id")),
                    name=word(function.get("name")),
                    arguments=arguments if isinstance(arguments, str | dict) else "",
                )
        return text_of(message.get("content"))

    def last(self) -> None:
        """See `Reading`."""
        thought = "".join(self._thought)
        if thought and self._calls:
            self.carry = {"provider": self.provider, "reasoning_content": thought}


def usage_of(said: Any, *, says_cost: bool = False) -> Usage | None:
    """The usage of a response; None when there is none. Cached tokens by the names that servers use."""
    if not isinstance(said, Mapping):
        return None
    details = part(said, "prompt_tokens_details")
    cached = details.get("cached_tokens") or said.get("prompt_cache_hit_tokens") or said.get("cached_tokens")
    cost = said.get("cost") if says_cost else None
    return used(
        count(said.get("prompt_tokens")),
        count(said.get("completion_tokens")),
        cached=count(cached),
        written=count(details.get("cache_write_tokens")),
        reasoning=count(part(said, "completion_tokens_details").get("reasoning_tokens")),
        cost=float(cost) if isinstance(cost, int | float) and cost >= 0 else None,
    )


def text_of(content: Any) -> str:
    """The text of a message: a string, or (some servers) a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(word(row.get("text")) for row in rows(content))
