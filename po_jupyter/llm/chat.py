"""The seam between po_jupyter and models: request and response as values, and the `Provider` protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, Required, TypeAlias, TypedDict

from po_jupyter.llm.audio import File
from po_jupyter.llm.logprobs import TokenLogprob
from po_jupyter.llm.logprobs import from_json as logprobs_from_json
from po_jupyter.llm.messages import Image, Tool, ToolCall
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.digests import short_digest
from po_jupyter.model.values.json import JsonObject, JsonValue

__all__ = ["Api", "ChatRequest", "ChatResponse", "Effort", "Image", "Message", "Provider", "Tool", "ToolCall"]

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
Api: TypeAlias = Literal["responses", "chat"]
# True: read and write; "refresh": only write; False: neither. See `llm.calls.cache`.
CacheMode: TypeAlias = Literal["refresh"] | bool
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
ServiceTier: TypeAlias = Literal["flex", "standard", "priority"]
OnText: TypeAlias = Callable[[str], None]
# The limits that a server reports with an answer, by kind (`rate_limits.sliding_window.KINDS`): (limit, remaining,
# seconds until it is whole again), each None when it is not reported. JSON can hold it.
ServerLimits: TypeAlias = dict[str, tuple[int | None, int | None, float | None]]


class ChatResponseJson(TypedDict, total=False):
    """A `ChatResponse` as the journal and the cache keep it; see `ChatResponse.to_json`."""

    text: Required[str]
    usage: JsonObject
    model: str
    finish: str
    request_id: str
    seconds: float
    estimated: bool
    tool_calls: list[JsonObject]
    carry: JsonObject
    api: str
    service_tier: str
    logprobs: list[list[JsonValue]]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    images        of a user's turn
    tool_calls    of an assistant's turn
    tool_call_id  of a turn with the role `tool`: the call that its content is the result of
    carry         the provider's own data of a turn it made (signed thinking, encrypted reasoning), as it came in
                  `ChatResponse.carry`; sent back to the provider that made it, and to no other
    files         documents and sounds of a user's turn
    shared        characters at the beginning of `content` that many requests have in common; no part of what is asked
    """

    role: Role
    content: str
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    carry: Mapping[str, Any] | None = None
    shared: int = field(default=0, compare=False, repr=False)
    files: tuple[File, ...] = ()

    def sharing(self, shared: int) -> Message:
        """The same turn with that `shared`. Called for each row of a map, where `replace` would be half of the work."""
        return Message(
            self.role,
            self.content,
            self.images,
            self.tool_calls,
            self.tool_call_id,
            self.carry,
            shared,
            self.files,
        )

    def to_json(self) -> JsonObject:
        """`{role, content}`, and the other fields where they hold something."""
        body: JsonObject = {"role": self.role, "content": self.content}
        if self.images:
            body["images"] = [image.to_json() for image in self.images]
        if self.files:
            body["files"] = [file.to_json() for file in self.files]
        if self.tool_calls:
            body["tool_calls"] = [call.to_json() for call in self.tool_calls]
        if self.tool_call_id:
            body["tool_call_id"] = self.tool_call_id
        if self.carry is not None:
            body["carry"] = dict(self.carry)
        return body


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode

# Fields of a request that are JSON as they are, and left out when they are None.
_OPTIONAL_FIELDS = (
    "temperature", "max_tokens", "timeout", "api", "seed", "effort", "max_thinking_tokens", "service_tier",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request to a model.

    model        a model ref, `provider:model`
    messages     at least one
    temperature  None: the provider's own default, and nothing is sent
    max_tokens   of the answer, without thoughts; None: the provider's own limit
    max_thinking_tokens   of the thoughts; None: by `effort`. See `llm.bounds` for what is sent
    schema       a JSON Schema that the answer should fit; None: free text
    json         the answer should be JSON of any shape (ignored when there is a schema)
    stop         texts at which the answer ends
    timeout      seconds for the request; None: the provider's default. A streamed answer may take longer
                 as long as it keeps coming (see `llm.wire.http`)
    api          the one of a provider's APIs to use; None: chosen by model
    tools        tools that the model may call
    tool_choice  "" (the model decides), `none`, `required`, or the name of the one tool to call
    seed         for answers that repeat, where the provider has it (Anthropic and the Responses API do not)
    effort       of a reasoning model; None: the provider's own default. Not sent to models that do not reason
    cache        use of the cache of calls; None: as the task says. Like `timeout` no part of `request_hash`
    service_tier   slower for less, or sooner for more (`llm.money.service_tiers`); None: the account's own. Like
                 `timeout` no part of `request_hash`: the answer is the same
    embed        the answer is the vector of the one message: the response's `text` is `llm.vectors.pack` of it
    logprobs     the log probabilities of the answer's tokens come with it (`llm.logprobs`)
    hashed_max_tokens   stands for `max_tokens` in `request_hash`: a default that nobody chose may change, and what
                 was answered under another one is an answer still
    """

    model: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    schema: Mapping[str, Any] | None = None
    json: bool = False
    stop: tuple[str, ...] = ()
    timeout: float | None = None
    api: Api | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str = ""
    seed: int | None = None
    effort: Effort | None = None
    cache: CacheMode | None = field(default=None, compare=False)
    max_thinking_tokens: int | None = None
    embed: bool = False
    service_tier: ServiceTier | None = None
    logprobs: bool = False
    hashed_max_tokens: int | None = field(default=None, compare=False, repr=False)
    _hash: str = field(default="", init=False, compare=False, repr=False)

    @property
    def provider(self) -> str:
        """The part of `model` before the colon."""
        return self.model.partition(":")[0]

    @property
    def model_name(self) -> str:
        """The part of `model` after the first colon: the provider's own name for it."""
        return self.model.partition(":")[2]

    @property
    def request_hash(self) -> str:
        """32 hex digits over everything that changes the answer (so not `timeout`, and not `service_tier`).

        sha256 over canonical JSON, cut to 128 bits: enough that two requests of one run never share it.
        """
        if not self._hash:
            body = self.to_json()
            body.pop("timeout", None)
            body.pop("service_tier", None)
            if self.hashed_max_tokens is not None:
                body["max_tokens"] = self.hashed_max_tokens
            object.__setattr__(self, "_hash", short_digest(_canonical(body)))
        return self._hash

    def to_json(self) -> JsonObject:
        """A plain dict; fields at their defaults are left out, so that a new field changes no old hash."""
        body: JsonObject = {"model": self.model, "messages": [m.to_json() for m in self.messages]}
        for name in _OPTIONAL_FIELDS:
            if (value := getattr(self, name)) is not None:
                body[name] = value
        if self.schema is not None:
            body["schema"] = dict(self.schema)
        if self.json:
            body["json"] = True
        if self.embed:
            body["embed"] = True
        if self.logprobs:
            body["logprobs"] = True
        if self.stop:
            body["stop"] = list(self.stop)
        if self.tools:
            body["tools"] = [tool.to_json() for tool in self.tools]
        if self.tool_choice:
            body["tool_choice"] = self.tool_choice
        return body

    def then(self, *messages: Message) -> ChatRequest:
        """The same request with more turns."""
        return replace(self, messages=(*self.messages, *messages))


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """A model's answer to one request.

    usage       as the provider counted it, or counted here when it did not (`estimated`); `cost` is None
                until it is priced
    model       the model that the provider says it used
    finish      reason for the end of the answer: `stop`, `tool_calls`, `length`, or the provider's own word
    request_id  the provider's name for the request, "" when it gave none
    seconds     from sending to the last byte
    replayed    it came from the journal: nothing was sent and nothing is to be paid
    tool_calls  the calls of tools that the model asks for, in its order
    carry       the provider's own data to send back with this turn; `message` has it
    api         the one of the provider's APIs that answered, where it has several
    service_tier   the tier that it was served on and is billed at, where the request set one, or where that is
                another than the standard one; "" else
    logprobs    of the answer's tokens, where the request asked for them and the server gave them
    limits      the server's limits from the answer's headers (`llm.rate_limits.headers`); not journaled
    """

    text: str
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    finish: str = "stop"
    request_id: str = ""
    seconds: float = 0.0
    estimated: bool = False
    replayed: bool = field(default=False, compare=False)
    tool_calls: tuple[ToolCall, ...] = ()
    carry: Mapping[str, Any] | None = None
    api: str = ""
    service_tier: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    limits: ServerLimits | None = field(default=None, compare=False, repr=False)

    @property
    def message(self) -> Message:
        """The answer as a turn, for the request that goes on from it."""
        return Message("assistant", self.text, tool_calls=self.tool_calls, carry=self.carry)

    def to_json(self) -> ChatResponseJson:
        """The response as the journal keeps it: every field but `replayed` and `limits`."""
        body: ChatResponseJson = {
            "text": self.text,
            "usage": self.usage.to_json(),
            "model": self.model,
            "finish": self.finish,
            "request_id": self.request_id,
            "seconds": self.seconds,
        }
        if self.estimated:
            body["estimated"] = True
        if self.tool_calls:
            body["tool_calls"] = [call.to_json() for call in self.tool_calls]
        if self.carry is not None:
            body["carry"] = dict(self.carry)
        if self.api:
            body["api"] = self.api
        if self.service_tier:
            body["service_tier"] = self.service_tier
        if self.logprobs:
            body["logprobs"] = [token.to_json() for token in self.logprobs]
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, Any], *, replayed: bool = False) -> ChatResponse:
        """The response that `to_json()` described."""
        return cls(
            text=body["text"],
            usage=Usage.model_validate(body.get("usage") or {}),
            model=body.get("model", ""),
            finish=body.get("finish", "stop"),
            request_id=body.get("request_id", ""),
            seconds=body.get("seconds", 0.0),
            estimated=body.get("estimated", False),
            replayed=replayed,
            tool_calls=tuple(ToolCall(**call) for call in body.get("tool_calls") or ()),
            carry=body.get("carry"),
            api=body.get("api", ""),
            service_tier=body.get("service_tier", ""),
            logprobs=logprobs_from_json(body.get("logprobs")),
        )


class Provider(Protocol):
    """The whole seam between po_jupyter and a model: one method, for one request.

    One that answers requests with `embed` has an attribute `embeds`, which is true; others never get any.
    """

    name: str

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        """Send one request. No retry in here: `llm.calls.retry` does that, and counts it.

        With `on_text` the answer is streamed and each piece is handed over as it comes; the response still
        holds the whole text. Raises a ModelError: transient ones are worth another try. The provider's
        request id goes into its `details`, the key goes nowhere.
        """
        ...

    async def aclose(self) -> None:
        """Close the connections and processes that the provider itself opened."""
        ...
