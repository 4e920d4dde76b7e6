"""OpenAI's Chat Completions API, and every server that speaks it.

Reference: platform.openai.com/docs/api-reference/chat.

* A JSON Schema goes out as `response_format: json_schema` with `strict: false`: strict mode refuses schemas
  that do not list every property as required and close every object, and most that people write do not.
  The answer is validated here anyway.
* `max_tokens` is called `max_completion_tokens` by OpenAI's reasoning models (gpt-5*, o*), which refuse a
  temperature; for those it is left out.
* JSON mode needs the word JSON in a message; when nobody said it, a system message does.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from po_jupyter.errors import AnswerTruncated, ModelError, ModelKeyError, ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, ChatResponse, OnText
from po_jupyter.llm.http import Answer, Http, Target, as_json, read_error, read_whole, sse
from po_jupyter.llm.providers.faults import fault, redacted, request_id
from po_jupyter.llm.tokens import estimate, estimate_messages
from po_jupyter.model.usage import Usage

DEFAULT_TIMEOUT = 60.0
_REASONING = re.compile(r"(?:gpt-5(?!.*chat)|o\d)")
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens and the key for it."""

    base_url: str
    key: str | None = field(default=None, repr=False)


Resolver: TypeAlias = Callable[[str], Awaitable[Endpoint]]


def api_for(request: ChatRequest) -> tuple[Literal["responses", "chat"], str]:
    """Which API a request goes to, and why, in words for the log.

    `llm.api` decides; without it Chat Completions, which is the only one that is built so far.
    """
    if request.api is not None:
        return request.api, f"llm.api is {request.api}"
    return "chat", "the default"


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
        adapt: Callable[[dict[str, Any]], None] | None = None,
        keep_cut_text: bool = False,
    ) -> None:
        """`adapt` changes the body of a request in place: for servers that differ in a word or two.

        `keep_cut_text`: free text that stopped at `max_tokens` is an answer (with `finish="length"`), not
        an AnswerTruncated. Cut JSON is one always.
        """
        self.name = name
        self._key_env = key_env
        self._http = http
        self._timeout = timeout
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
        if api_for(request)[0] == "responses":
            raise ModelRefused(
                "llm.api is `responses`, which is not there yet", hint="Leave `api` out, or set it to `chat`."
            )
        target, key = await self._where(request.model_name)
        try:
            return await self._ask(request, target, key, on_text)
        except (ModelUnavailable, ModelKeyError):
            # A server that was started anew has another port and key: look again before the next try.
            self._aimed.pop(request.model_name, None)
            raise

    async def _ask(
        self, request: ChatRequest, target: Target, key: str | None, on_text: OnText | None
    ) -> ChatResponse:
        body = body_of(request, stream=on_text is not None)
        if self._adapt is not None:
            self._adapt(body)
        raw = _encode(body).encode("utf-8", "replace")
        seconds = request.timeout or self._timeout
        call = _Call(self.name, request, key, self._key_env)
        call.keep_cut_text = self._keep_cut_text and request.schema is None and not request.json
        if on_text is None:
            return call.read(await self._http.post(target, raw, seconds=seconds))
        async with self._http.stream(target, raw, seconds=seconds) as response:
            if response.status_code != 200:
                raise call.failed(await read_error(response))
            call.headers = response.headers
            if any(kind in response.headers.get("content-type", "") for kind in ("json", "html")):
                # A server that does not stream, or none of that kind.
                whole = call.read(Answer(200, response.headers, await read_whole(response)))
                on_text(whole.text)
                return whole
            async for data in sse(response):
                if piece := call.take(data):
                    on_text(piece)
                if call.ended:
                    break
            return call.finish_stream()

    async def aclose(self) -> None:
        """Nothing: the connections belong to `Http`."""


def body_of(request: ChatRequest, *, stream: bool) -> dict[str, Any]:
    """The JSON body of a Chat Completions request."""
    messages = [m.to_json() for m in request.messages]
    body: dict[str, Any] = {"model": request.model_name, "messages": messages}
    reasoning = _REASONING.match(request.model_name) is not None
    if request.temperature is not None and not reasoning:
        body["temperature"] = request.temperature
    if request.max_tokens is not None:
        body["max_completion_tokens" if reasoning else "max_tokens"] = request.max_tokens
    if request.schema is not None:
        wanted = {"name": "answer", "schema": request.schema, "strict": False}
        body["response_format"] = {"type": "json_schema", "json_schema": wanted}
    elif request.json:
        body["response_format"] = {"type": "json_object"}
        if not any("json" in m["content"].lower() for m in messages):
            messages.insert(0, {"role": "system", "content": "Answer in JSON."})
    if request.stop:
        body["stop"] = list(request.stop)
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


def usage_of(said: Any) -> Usage | None:
    """The usage of a response; None when there is none. Cached tokens by the names that servers use."""
    if not isinstance(said, Mapping):
        return None
    details = said.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    cached = cached or said.get("prompt_cache_hit_tokens") or said.get("cached_tokens")
    return Usage.model_construct(
        input_tokens=_count(said.get("prompt_tokens")),
        output_tokens=_count(said.get("completion_tokens")),
        cached_tokens=_count(cached),
        cost=None,
        calls=1,
        unknown=0,
    )


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and value > 0 else 0


class _Call:
    """One request under way: what has come so far, and how it ends."""

    def __init__(self, provider: str, request: ChatRequest, key: str | None, key_env: str) -> None:
        self.provider = provider
        self.request = request
        self.key = key
        self.key_env = key_env
        self.headers: Mapping[str, str] = {}
        self.ended = False
        self.keep_cut_text = False
        self._pieces: list[str] = []
        self._usage: Usage | None = None
        self._finish: str | None = None
        self._model = ""
        self._refusal = ""
        self._started = time.perf_counter()

    def failed(self, answer: Answer) -> ModelError:
        model = self.request.model_name
        return fault(answer, provider=self.provider, model=model, key=self.key, key_env=self.key_env)

    # -- a whole answer -----------------------------------------------------------------------------
    def read(self, answer: Answer) -> ChatResponse:
        if answer.status != 200:
            raise self.failed(answer)
        self.headers = answer.headers
        said = as_json(answer.body)
        if not isinstance(said, dict):
            raise self._not_json(answer)
        if said.get("error") and not said.get("choices"):
            raise self._error_inside(said)
        choices = said.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(choice, dict) or not isinstance(message, dict):
            raise ModelUnavailable(f"{self.provider}: the answer has no message", details=self._details())
        self._model = _word(said.get("model"))
        self._finish = _word(choice.get("finish_reason")) or "stop"
        self._refusal = _word(message.get("refusal"))
        self._usage = usage_of(said.get("usage"))
        return self._done(_text(message.get("content")))

    # -- a streamed one -----------------------------------------------------------------------------
    def take(self, data: str) -> str:
        """The text of one event, "" when it brings none."""
        if data.strip() == "[DONE]":
            self.ended = True
            return ""
        said = as_json(data.encode())
        if not isinstance(said, dict):
            raise ModelUnavailable(
                f"{self.provider}: the stream holds an event that is not JSON", details=self._details()
            )
        if said.get("error"):
            raise self._error_inside(said)
        self._model = self._model or _word(said.get("model"))
        if (usage := usage_of(said.get("usage"))) is not None:
            self._usage = usage
        choices = said.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return ""
        self._finish = _word(choice.get("finish_reason")) or self._finish
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return ""
        self._refusal += _word(delta.get("refusal"))
        piece = _text(delta.get("content"))
        if piece:
            self._pieces.append(piece)
        return piece

    def finish_stream(self) -> ChatResponse:
        text = "".join(self._pieces)
        if self._finish is None and not self.ended:
            raise ModelUnavailable(
                f"{self.provider}: the stream broke off after {len(text)} characters", details=self._details()
            )
        self._finish = self._finish or "stop"
        return self._done(text)

    # -- the end of both ----------------------------------------------------------------------------
    def _done(self, text: str) -> ChatResponse:
        usage, estimated = self._usage, False
        if usage is None:
            estimated = True
            asked = estimate_messages(m.content for m in self.request.messages)
            usage = Usage(input_tokens=asked, output_tokens=estimate(text), cost=None, calls=1)
        # What was paid for and cannot be used still has to be counted: the error carries the usage.
        spent = {"usage": usage.to_json(), "sample": text[:200]}
        if self._finish == "length" and not self.keep_cut_text:
            limit = self.request.max_tokens
            raise AnswerTruncated(
                f"{self.provider}: the answer of {self.request.model_name} stopped at "
                + (f"max_tokens ({limit})" if limit else "the model's own limit"),
                hint="Raise llm.max_tokens, or ask for less.",
                details={**self._details(), **spent},
            )
        if self._finish == "content_filter" or (self._refusal and not text):
            why = redacted(self._refusal, self.key)[:300] or "its content filter stopped the answer"
            raise ModelRefused(f"{self.provider} refused: {why}", details={**self._details(), **spent})
        return ChatResponse(
            text=text,
            usage=usage,
            model=self._model or self.request.model_name,
            finish=self._finish or "stop",
            request_id=request_id(self.headers),
            seconds=time.perf_counter() - self._started,
            estimated=estimated,
        )

    def _details(self) -> dict[str, Any]:
        details: dict[str, Any] = {"provider": self.provider, "model": self.request.model_name}
        if found := request_id(self.headers):
            details["request_id"] = found
        return details

    def _not_json(self, answer: Answer) -> ModelError:
        if "html" in answer.headers.get("content-type", ""):
            return ModelRefused(
                f"{self.provider} answered with a web page instead of JSON",
                hint="Check the base URL: OpenAI's kind includes /v1.",
                details=self._details(),
            )
        return ModelUnavailable(
            f"{self.provider}: the answer is not JSON, or not all of it", details=self._details()
        )

    def _error_inside(self, said: dict[str, Any]) -> ModelError:
        """An error in a body whose status said 200, as proxies and streams send it."""
        error = said["error"]
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 502
        from httpx import Headers

        return self.failed(Answer(status, Headers(dict(self.headers)), _encode({"error": error}).encode()))


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _text(content: Any) -> str:
    """The text of a message: a string, or (some servers) a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_word(part.get("text")) for part in content if isinstance(part, dict))
    return ""
