"""One call to a model as values, and the seam that every provider is written on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias

from po_jupyter.llm.messages import Image, Tool, ToolCall
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.digests import short_digest

__all__ = ["Api", "ChatRequest", "ChatResponse", "Effort", "Image", "Message", "Provider", "Tool", "ToolCall"]

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
Api: TypeAlias = Literal["responses", "chat"]
# True: read and write; "refresh": only write; False: neither. See `llm.cache`.
CacheMode: TypeAlias = Literal["refresh"] | bool
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
OnText: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    images        of a user's turn
    tool_calls    of an assistant's turn
    tool_call_id  of a turn with the role `tool`: which call its content is the result of
    carry         what a provider wants back with the turn it made (signed thinking, encrypted reasoning), as it
                  came in `ChatResponse.carry`; only the provider that made it is sent it
    """

    role: Role
    content: str
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    carry: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """`{role, content}`, and the other fields where they hold something."""
        said: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.images:
            said["images"] = [image.to_json() for image in self.images]
        if self.tool_calls:
            said["tool_calls"] = [call.to_json() for call in self.tool_calls]
        if self.tool_call_id:
            said["tool_call_id"] = self.tool_call_id
        if self.carry is not None:
            said["carry"] = dict(self.carry)
        return said


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What is asked of which model.

    model        a model ref, `provider:model`
    messages     at least one
    temperature  None: the provider's own default, and nothing is sent
    max_tokens   of the answer; None: the provider's own limit
    schema       a JSON Schema that the answer should fit; None: free text
    json         the answer should be JSON of any shape (ignored when there is a schema)
    stop         texts at which the answer ends
    timeout      seconds for the request; None: the provider's default. A streamed answer may take longer
                 as long as it keeps coming (see `llm.http`)
    api          which of a provider's APIs to use; None: chosen by model
    tools        that the model may ask to be called
    tool_choice  "" (the model decides), `none`, `required`, or the name of the one tool to call
    seed         for answers that repeat, where the provider has it (Anthropic and the Responses API do not)
    effort       how much a model that reasons should; None: the provider's own default. Models that do not
                 reason are not told
    cache        how this call uses the cache of calls; None: as its task says. Like `timeout` no part of its name
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
    _hash: str = field(default="", init=False, compare=False, repr=False)

    @property
    def provider(self) -> str:
        """The part of `model` before the colon."""
        return self.model.partition(":")[0]

    @property
    def model_name(self) -> str:
        """The part of `model` after the first colon: what the provider calls it."""
        return self.model.partition(":")[2]

    @property
    def request_hash(self) -> str:
        """32 hex digits that name everything that changes the answer (so not `timeout`).

        sha256 over canonical JSON, cut to 128 bits: enough that two requests of one run never share it.
        """
        if not self._hash:
            said = self.to_json()
            said.pop("timeout", None)
            text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
            object.__setattr__(self, "_hash", short_digest(text))
        return self._hash

    def to_json(self) -> dict[str, Any]:
        """A plain dict; fields at their defaults are left out, so that a new field changes no old hash."""
        said: dict[str, Any] = {"model": self.model, "messages": [m.to_json() for m in self.messages]}
        if self.temperature is not None:
            said["temperature"] = self.temperature
        if self.max_tokens is not None:
            said["max_tokens"] = self.max_tokens
        if self.schema is not None:
            said["schema"] = dict(self.schema)
        if self.json:
            said["json"] = True
        if self.stop:
            said["stop"] = list(self.stop)
        if self.timeout is not None:
            said["timeout"] = self.timeout
        if self.api is not None:
            said["api"] = self.api
        if self.tools:
            said["tools"] = [tool.to_json() for tool in self.tools]
        if self.tool_choice:
            said["tool_choice"] = self.tool_choice
        if self.seed is not None:
            said["seed"] = self.seed
        if self.effort is not None:
            said["effort"] = self.effort
        return said

    def then(self, *messages: Message) -> ChatRequest:
        """The same request with more turns."""
        return replace(self, messages=(*self.messages, *messages))


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """What came back.

    usage       as the provider counted it, or counted here when it did not (`estimated`); `cost` is None
                until it is priced
    model       the model that the provider says it used
    finish      why the answer ended: `stop`, `tool_calls`, `length`, or the provider's own word for it
    request_id  the provider's name for the request, "" when it gave none
    seconds     from sending to the last byte
    replayed    it came from the journal: nothing was sent and nothing is to be paid
    tool_calls  what the model wants called, in its order
    carry       what the provider wants back with this turn; `message` has it
    api         which of the provider's APIs answered, where it has several
    limits      what the answer's headers tell of the server's limits (`llm.rate_headers`); not journaled
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
    limits: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def message(self) -> Message:
        """The answer as a turn, for the request that goes on from it."""
        return Message("assistant", self.text, tool_calls=self.tool_calls, carry=self.carry)

    def to_json(self) -> dict[str, Any]:
        """What the journal keeps: every field but `replayed` and `limits`."""
        said: dict[str, Any] = {
            "text": self.text,
            "usage": self.usage.to_json(),
            "model": self.model,
            "finish": self.finish,
            "request_id": self.request_id,
            "seconds": self.seconds,
        }
        if self.estimated:
            said["estimated"] = True
        if self.tool_calls:
            said["tool_calls"] = [call.to_json() for call in self.tool_calls]
        if self.carry is not None:
            said["carry"] = dict(self.carry)
        if self.api:
            said["api"] = self.api
        return said

    @classmethod
    def from_json(cls, said: Mapping[str, Any], *, replayed: bool = False) -> ChatResponse:
        """The response that `to_json()` described."""
        return cls(
            text=said["text"],
            usage=Usage.model_validate(said.get("usage") or {}),
            model=said.get("model", ""),
            finish=said.get("finish", "stop"),
            request_id=said.get("request_id", ""),
            seconds=said.get("seconds", 0.0),
            estimated=said.get("estimated", False),
            replayed=replayed,
            tool_calls=tuple(ToolCall(**call) for call in said.get("tool_calls") or ()),
            carry=said.get("carry"),
            api=said.get("api", ""),
        )


class Provider(Protocol):
    """The whole seam between po_jupyter and a model: one method that makes one request."""

    name: str

    async def chat(self, request: ChatRequest, *, on_text: OnText | None = None) -> ChatResponse:
        """Ask once. No retry in here: `llm.retry` does that, and counts it.

        With `on_text` the answer is streamed and each piece is handed over as it comes; the response still
        holds the whole text. Raises a ModelError: transient ones are worth another try. The provider's
        request id goes into its `details`, the key goes nowhere.
        """
        ...

    async def aclose(self) -> None:
        """Give back what the provider itself opened."""
        ...
