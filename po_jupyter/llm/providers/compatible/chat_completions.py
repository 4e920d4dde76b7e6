"""The provider for OpenAI's Chat Completions API, and for every server that speaks it; embeddings are at its side.

Reference: developers.openai.com/api/reference (Chat, "Create chat completion"). The differences of servers are data
(`family.Quirks`).

* A JSON Schema goes out as `response_format: json_schema`, strict where server and schema allow it
  (`structured.openai_schema`). The answer is validated here anyway. A server without schemas gets JSON mode and
  the schema as text.
* A temperature that is not set is not sent; models that refuse one (OpenAI's that reason, Kimi's) are sent none at
  all, and the limit under a name of their own.
* JSON mode needs the word JSON in a message; where none has it, a system message is added.
* Reasoning (`reasoning_content`) is no part of the answer. With tool calls it is carried, and goes back to the same
  server with the results: DeepSeek, Kimi and GLM ask for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import ClassVar, NamedTuple

from po_jupyter.errors import ModelKeyError, ModelUnavailable
from po_jupyter.llm.audio import Audio, File
from po_jupyter.llm.bounds import output_limit
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message, OnText, Provider
from po_jupyter.llm.logprobs import ALTERNATIVES, read_tokens
from po_jupyter.llm.money.service_tiers import wire_tier
from po_jupyter.llm.providers.compatible.embeddings import EmbeddingReader, embedding_body
from po_jupyter.llm.providers.compatible.family import OPENAI, QUIRKS, Quirks
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.specs import ProviderEndpoint, Resolver
from po_jupyter.llm.structured.dialects import JSON_ONLY, schema_as_text, with_instructions, with_turn
from po_jupyter.llm.structured.openai_schema import openai_schema
from po_jupyter.llm.wire.ends import end_of
from po_jupyter.llm.wire.exchange import DEFAULT_TIMEOUT, exchange
from po_jupyter.llm.wire.http import Http, Target
from po_jupyter.llm.wire.json_fields import as_text, mapping_at, mappings_in
from po_jupyter.llm.wire.response_reader import ResponseReader
from po_jupyter.llm.wire.stop_sequences import StopCutter
from po_jupyter.llm.wire.usage import chat_usage
from po_jupyter.model.values.json import JsonObject


def make(context: ProviderContext) -> Provider:
    """The provider of a context, with the quirks of its name. Raises ModelKeyError."""
    return ChatCompletions(
        context.endpoint,
        context.http,
        name=context.spec.name,
        key_env=context.spec.key_env,
        quirks=QUIRKS.get(context.spec.name, Quirks()),
        embeds=context.spec.embeddings,
    )


class _ModelServer(NamedTuple):
    """Where a model is asked."""

    chat: Target
    embeddings: Target
    key: str | None


class ChatCompletions:
    """A provider for one server, or (with a resolver) for one server per model."""

    def __init__(
        self,
        endpoint: ProviderEndpoint | Resolver,
        http: Http,
        *,
        name: str = "openai",
        key_env: str = "OPENAI_API_KEY",
        timeout: float = DEFAULT_TIMEOUT,
        quirks: Quirks = OPENAI,
        adapt: Callable[[JsonObject], None] | None = None,
        keep_cut_text: bool = False,
        embeds: bool = True,
    ) -> None:
        """`adapt` changes the body of a chat in place, for what `quirks` cannot say; `embeds`: it has embeddings.

        `keep_cut_text`: free text that stopped at `max_tokens` is an answer (with `finish="length"`), not
        an AnswerTruncated. Cut JSON is one always.
        """
        self.name = name
        self.embeds = embeds
        self._key_env = key_env
        self._http = http
        self._timeout = timeout
        self._quirks = quirks
        self._adapt = adapt
        self._keep_cut_text = keep_cut_text
        self._resolve = endpoint if callable(endpoint) else None
        self._fixed = None if callable(endpoint) else self._server_at(endpoint)
        self._resolved: dict[str, _ModelServer] = {}

    def _server_at(self, endpoint: ProviderEndpoint) -> _ModelServer:
        base, key = endpoint.base_url.rstrip("/"), endpoint.key
        chat, embeddings = (
            Target(f"{base}/{path}", key=key, name=self.name, headers=endpoint.headers)
            for path in ("chat/completions", "embeddings")
        )
        return _ModelServer(chat, embeddings, key)

    async def _server(self, model: str) -> _ModelServer:
        if self._resolve is None:
            assert self._fixed is not None
            return self._fixed
        if model not in self._resolved:
            self._resolved[model] = self._server_at(await self._resolve(model))
        return self._resolved[model]

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        """Make one request. See `llm.chat.Provider`."""
        server = await self._server(request.model_name)
        if request.embed:
            return await self._embed(server, request)
        body = chat_body(request, stream=on_text is not None, quirks=self._quirks, provider=self.name)
        if self._adapt is not None:
            self._adapt(body)
        reader = ChatReader(self.name, request, server.key, self._key_env, self._quirks)
        reader.keep_cut_text = self._keep_cut_text and request.schema is None and not request.json
        seconds = request.timeout or self._timeout
        try:
            return await exchange(self._http, server.chat, body, reader, seconds=seconds, on_text=on_text)
        except (ModelUnavailable, ModelKeyError):
            # A server that was started anew has another port and key: resolve it again before the next try.
            self._resolved.pop(request.model_name, None)
            raise

    async def _embed(self, server: _ModelServer, request: ChatRequest) -> ChatResponse:
        reader = EmbeddingReader(self.name, request, server.key, self._key_env)
        seconds = request.timeout or self._timeout
        body = embedding_body(request)
        return await exchange(self._http, server.embeddings, body, reader, seconds=seconds, on_text=None)

    async def aclose(self) -> None:
        """Close nothing: the connections belong to `Http`."""


def chat_body(
    request: ChatRequest, *, stream: bool, quirks: Quirks = OPENAI, provider: str = "openai"
) -> JsonObject:
    """The JSON body of a Chat Completions request."""
    model = request.model_name
    body: JsonObject = {"model": model, "messages": []}
    if request.temperature is not None and not _fits(quirks.fixed_sampling, model):
        body["temperature"] = min(request.temperature, quirks.hottest)
    if (limit := output_limit(request)) is not None:
        body["max_completion_tokens" if _fits(quirks.own_limit, model) else "max_tokens"] = limit
    messages = _add_format(body, request, quirks)
    body["messages"] = [_message(m, provider) for m in messages]
    if request.stop and not _fits(quirks.no_stop, model):
        body["stop"] = list(request.stop[: quirks.most_stops])
    if request.seed is not None and quirks.seed:
        body["seed"] = request.seed
    if request.effort is not None:
        _add_effort(body, request.effort, quirks.effort_style(model), quirks)
    if request.tools:
        _add_tools(body, request, quirks)
    if request.logprobs:
        body |= {"logprobs": True, "top_logprobs": ALTERNATIVES}
    body |= quirks.extra
    if (tier := wire_tier(request, quirks.tiers)) is not None:
        body["service_tier"] = tier
    if stream:
        body["stream"] = True
        if quirks.stream_usage:
            body["stream_options"] = {"include_usage": True}
    return body


def _fits(pattern: str, model: str) -> bool:
    """True when a model's name begins like the pattern; never for an empty one."""
    return bool(pattern) and re.match(pattern, model) is not None


def _add_format(body: JsonObject, request: ChatRequest, quirks: Quirks) -> tuple[Message, ...]:
    """Ask for JSON; the messages, with instructions for what the server does not enforce."""
    messages = with_turn(request.messages)
    if request.schema is not None:
        enforced = quirks.schema_style(request.model_name) == "schema"
        if enforced and quirks.object_root:
            shape = openai_schema(request.schema, strict=quirks.strict)
            body["response_format"] = {"type": "json_schema", "json_schema": shape.as_format()}
            in_full = shape.in_full
            return messages if in_full is None else with_instructions(messages, schema_as_text(in_full))
        if enforced:
            answer = {"name": "answer", "schema": request.schema, "strict": False}
            body["response_format"] = {"type": "json_schema", "json_schema": answer}
            return messages
        messages = with_instructions(messages, schema_as_text(request.schema))
    elif not request.json:
        return messages
    elif not quirks.json_object or _fits(quirks.no_format, request.model_name):
        return with_instructions(messages, JSON_ONLY)
    elif not any("json" in m.content.lower() for m in messages):
        messages = with_instructions(messages, JSON_ONLY)
    kind = request.schema.get("type", "object") if request.schema is not None else "object"
    if (
        quirks.json_object and kind == "object" and not _fits(quirks.no_format, request.model_name)
    ):  # JSON mode knows objects only
        body["response_format"] = {"type": "json_object"}
    return messages


def _message(message: Message, provider: str) -> JsonObject:
    content: str | list[JsonObject] = message.content
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": content}
    if message.images or message.files:
        texts: list[JsonObject] = [{"type": "text", "text": message.content}] if message.content else []
        content = texts + [{"type": "image_url", "image_url": {"url": image.url}} for image in message.images]
        content += [_file(file, n, provider) for n, file in enumerate(message.files, 1)]
    turn: JsonObject = {"role": message.role, "content": content}
    if message.tool_calls:
        turn["content"] = content or None
        turn["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for call in message.tool_calls
        ]
    carry = message.carry
    if carry is not None and carry.get("provider") == provider:
        turn["reasoning_content"] = carry["reasoning_content"]
    return turn


def _file(file: File, n: int, provider: str) -> JsonObject:
    if not isinstance(file, Audio):
        return {"type": "file", "file": {"filename": f"document-{n}.pdf", "file_data": file.url}}
    if provider == "mistral":  # "Offline transcription", docs.mistral.ai: the base64 alone
        return {"type": "input_audio", "input_audio": file.data}
    return {"type": "input_audio", "input_audio": {"data": file.data, "format": file.format}}


def _add_effort(body: JsonObject, effort: str, style: str | None, quirks: Quirks) -> None:
    if style == "reasoning_effort":
        body["reasoning_effort"] = quirks.efforts.get(effort, effort)
    elif style == "thinking":
        body["thinking"] = {"type": "disabled" if effort == "none" else "enabled"}
    elif style == "enable_thinking":
        body["enable_thinking"] = effort != "none"
    elif style == "reasoning":
        body["reasoning"] = {"effort": effort}


def _add_tools(body: JsonObject, request: ChatRequest, quirks: Quirks) -> None:
    body["tools"] = [{"type": "function", "function": tool.to_json()} for tool in request.tools]
    choice = request.tool_choice
    if choice == "none":
        body["tool_choice"] = "none"
    elif choice and not quirks.forced_tools:
        body["tool_choice"] = "auto"
    elif choice == "required":
        body["tool_choice"] = "required"
    elif choice:
        body["tool_choice"] = {"type": "function", "function": {"name": choice}}


class ChatReader(ResponseReader):
    """The reader of a `chat.completion`, or of its chunks."""

    base_url_hint: ClassVar[str] = "Check the base URL: OpenAI's kind includes /v1."
    api: ClassVar[str] = "chat"

    def __init__(
        self, provider: str, request: ChatRequest, key: str | None, key_env: str, quirks: Quirks
    ) -> None:
        """See `ResponseReader`; `quirks` are those of the server."""
        super().__init__(provider, request, key, key_env)
        self._quirks = quirks
        self._reasoning: list[str] = []
        if len(request.stop) > (0 if _fits(quirks.no_stop, request.model_name) else quirks.most_stops):
            self.cutter = StopCutter(request.stop)
        enforced = quirks.schema_style(request.model_name) == "schema"
        if request.schema is not None and enforced and quirks.object_root:
            self.wrapped = openai_schema(request.schema, strict=quirks.strict).wrapped

    def read_body(self, body: JsonObject) -> str:
        """The text of a `chat.completion`."""
        choices = mappings_in(body.get("choices"))
        choice = choices[0] if choices else {}
        message = choice.get("message")
        # A filter may stop an answer before there is a message (Azure OpenAI).
        if not isinstance(message, dict) and not choice.get("finish_reason") and not choice.get("error"):
            raise self.malformed()
        self.answer_id = as_text(body.get("id"))
        self.model = as_text(body.get("model"))
        self.read_tier(body.get("service_tier"))
        self.read_usage(body)
        self._read_finish(choice, "stop")
        self._read_logprobs(choice)
        return self._read_message(mapping_at(choice, "message"))

    def read_event(self, event: JsonObject) -> str:
        """The text of a chunk."""
        self.model = self.model or as_text(event.get("model"))
        self.answer_id = self.answer_id or as_text(event.get("id"))
        self.read_tier(event.get("service_tier"))
        self.read_usage(event)
        choices = mappings_in(event.get("choices"))
        if not choices:
            return ""
        self._read_finish(choices[0], self.finish)
        self._read_logprobs(choices[0])
        return self._read_message(mapping_at(choices[0], "delta"))

    def read_usage(self, body: JsonObject) -> None:
        """The usage of a body or chunk."""
        counts = body.get("usage")
        usage = chat_usage(counts, says_cost=self._quirks.says_cost) if isinstance(counts, Mapping) else None
        if usage is not None and (self.usage is None or usage.input_tokens or usage.output_tokens):
            self.usage = usage  # an empty one behind a full one says nothing

    def _read_finish(self, choice: Mapping[str, object], otherwise: str | None) -> None:
        """Read the end of a choice. One that holds an error is no answer, whatever its end says."""
        if choice.get("error"):
            raise self.error_inside(choice["error"])
        self.finish = end_of(as_text(choice.get("finish_reason"))) or otherwise

    def _read_logprobs(self, choice: Mapping[str, object]) -> None:
        if self.request.logprobs:
            self.logprobs += read_tokens(mappings_in(mapping_at(choice, "logprobs").get("content")))

    def _read_message(self, message: Mapping[str, object]) -> str:
        """The text of a message or a delta; refusal, reasoning and tool calls go into the fields."""
        self.refusal += as_text(message.get("refusal"))
        self._reasoning.append(as_text(message.get("reasoning_content")))
        for n, call in enumerate(mappings_in(message.get("tool_calls"))):
            function = mapping_at(call, "function")
            arguments = function.get("arguments")
            self.add_tool_call(
                call.get("index", n),
                id=as_text(call.get("id")),
                name=as_text(function.get("name")),
                arguments=arguments if isinstance(arguments, str | dict) else "",
            )
        return _message_text(message.get("content"))

    def before_response(self) -> None:
        """Carry the reasoning of a turn with tool calls."""
        reasoning = "".join(self._reasoning)
        if reasoning and self.has_tool_calls:
            self.carry = {"provider": self.provider, "reasoning_content": reasoning}


def _message_text(content: object) -> str:
    """The text of a message: a string, or (some servers) a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(as_text(part.get("text")) for part in mappings_in(content))
