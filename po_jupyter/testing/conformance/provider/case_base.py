"""The base of the cases: exchanges, a server that replays them, the provider under test."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from po_jupyter.errors import ModelError
from po_jupyter.llm.audio import Audio
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Image, Message, Provider, Tool
from po_jupyter.llm.documents import Document
from po_jupyter.llm.wire.http import Http
from po_jupyter.model.values.json import JsonObject
from po_jupyter.testing.model_server import ModelServer, Recorded, Reply
from po_jupyter.testing.model_server.aws_frames import CONTENT_TYPE, event_frame

KEY = "sk-conf-4f9a8b7c6d5e4f3a2b1c"
HELLO = "Hello! How can I help you today?"
UNICODE = "Grüße 日本 🎉"
PAGE = Document(base64.b64encode(b"%PDF-1.4\n%%EOF\n").decode(), 1)
SOUND = Audio(base64.b64encode(b"RIFF\x24\0\0\0WAVEfmt ").decode(), 1.0)
PIXEL = Image(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "image/png",
)
SCHEMA = {
    "type": "object",
    "required": ["label", "score"],
    "additionalProperties": False,
    "properties": {"label": {"type": "string", "enum": ["bug", "praise"]}, "score": {"type": "integer"}},
}
RICH_SCHEMA = {
    "type": "object",
    "required": ["label"],
    "properties": {
        "label": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 20},
        "score": {"type": "integer", "exclusiveMinimum": 0},
        "more": {"type": "object", "additionalProperties": {"type": "number"}},
    },
}
WEATHER = Tool(
    "get_weather",
    "The weather in a city.",
    {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
)
CLOCK = Tool("get_time", "The time.")
LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "maxTokens")
STOPS = ("stop", "stop_sequences", "stopSequences")
EFFORTS = (
    "reasoning_effort",
    "reasoning",
    "thinking",
    "enable_thinking",
    "thinkingConfig",
    "effort",
    "reasoning_config",
)
SHAPES = ("response_format", "text", "output_config", "responseJsonSchema", "responseMimeType", "outputConfig")
TIERS = ("service_tier", "serviceTier")


def load(name: str | Path) -> JsonObject:
    """The file of exchanges, completed by the file that its `like` names."""
    path = name if isinstance(name, Path) else Path(__file__).parents[1] / "exchanges" / f"{name}.json"
    file: JsonObject = json.loads(path.read_text("utf-8"))
    if file.get("like"):
        file["exchanges"] = {**load(file["like"])["exchanges"], **file["exchanges"]}
    return file


def reply_of(exchange: JsonObject, key: str = KEY) -> Reply:
    """An exchange as the model server's reply."""
    if exchange.get("framing") == "aws":
        frames = [event_frame(json.loads(as_json_text(e).replace("{key}", key))) for e in exchange["events"]]
        return Reply(
            status=exchange["status"],
            headers=exchange["headers"],
            body=b"".join(frames),
            content_type=CONTENT_TYPE,
        )
    if "events" in exchange:
        lines = []
        for event in exchange["events"]:
            data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
            name = f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else ""
            lines.append(f"{name}data: {data}\n\n")
        body, kind = "".join(lines), "text/event-stream"
    else:
        body, kind = json.dumps(exchange["body"], ensure_ascii=False), "application/json"
    return Reply(
        status=exchange["status"],
        headers=exchange["headers"],
        body=body.replace("{key}", key).encode(),
        content_type=kind,
    )


def values_under(value: Any, *names: str) -> list[Any]:
    """The values under any of the names, anywhere in a body but inside a schema's properties."""
    values: list[Any] = []
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in names:
                values.append(inner)
            if name not in ("properties", "parameters", "input_schema"):
                values += values_under(inner, *names)
    elif isinstance(value, list):
        for inner in value:
            values += values_under(inner, *names)
    return values


def as_json_text(body: Any) -> str:
    """A body as one JSON text, to search in."""
    return json.dumps(body, ensure_ascii=False)


class CaseBase:
    """The base class of cases, with the attributes that a subclass sets.

    exchanges  the file of exchanges, or the name of one in `exchanges/`
    model      the model ref under test
    thinker    a model that takes an effort; None: there is none
    fixed      a model that refuses a temperature; None: there is none
    tiers      service tiers by our name, with what is sent for each; empty where the API has none
    hearer     a model that takes sound; None: there is none
    says_logprobs   a model that gives log probabilities; None: there is none
    lacks      of `seed`, `images`, `files`, `forced tools`: those that the API does not have
    """

    exchanges: ClassVar[str | Path] = ""
    model: ClassVar[str] = ""
    thinker: ClassVar[str | None] = None
    fixed: ClassVar[str | None] = None
    hearer: ClassVar[str | None] = None
    says_logprobs: ClassVar[str | None] = None
    tiers: ClassVar[Mapping[str, object]] = {}
    lacks: ClassVar[frozenset[str]] = frozenset()

    def make(self, server: ModelServer, http: Http) -> Provider:
        """The provider under test, with `server.key` as its key."""
        raise NotImplementedError

    def accept(self, request: Recorded) -> None:
        """Raise unless the vendor would accept the request."""

    @pytest.fixture
    def server(self) -> Iterator[ModelServer]:
        """A server for one case; afterwards each request is checked, and that the key was in one header only."""
        with ModelServer(key=KEY) as running:
            yield running
            for request in running.requests:
                self.accept(request)
                shown = as_json_text(request.body) + request.path
                assert KEY not in shown, "the key is in the body or the URL"
                assert sum(KEY in value for value in request.headers.values()) == 1

    @pytest.fixture
    async def provider(self, server: ModelServer) -> AsyncIterator[Provider]:
        """The provider under test, opened and closed."""
        http = Http()
        opened = self.make(server, http)
        yield opened
        assert KEY not in repr(opened)
        await opened.aclose()
        await http.aclose()

    def ask(
        self, text: str = "Hello", *, system: str = "", model: str | None = None, **more: Any
    ) -> ChatRequest:
        """A request to the model under test."""
        messages = (*((Message("system", system),) if system else ()), Message("user", text))
        return ChatRequest(model or self.model, more.pop("messages", messages), **more)

    def exchange(self, name: str) -> JsonObject:
        """The exchange of a case; the case is skipped when the API has none."""
        exchanges = load(self.exchanges)["exchanges"]
        if name not in exchanges:
            pytest.skip(f"inapplicable: this API has no {name}")
        exchange: JsonObject = exchanges[name]
        return exchange

    async def play(
        self,
        server: ModelServer,
        provider: Provider,
        name: str,
        request: ChatRequest | None = None,
        **more: Any,
    ) -> tuple[ChatResponse, list[str], JsonObject]:
        """Make the call of a case: (response, the pieces that were streamed, the body that was sent)."""
        exchange = self.exchange(name)
        server.enqueue(reply_of(exchange))
        pieces: list[str] = []
        request = request or self.ask(**more)
        before = len(server.requests)
        try:
            on_text = pieces.append if name.endswith("_stream") else None
            response = await provider.chat(request, on_text=on_text)
        except ModelError as error:
            self._check_error(error, provider, request)
            raise
        finally:
            assert len(server.requests) == before + 1, "one call is one request"
        return response, pieces, server.requests[-1].body

    @staticmethod
    def _check_error(error: ModelError, provider: Provider, request: ChatRequest) -> None:
        shown = str(error) + repr(error) + as_json_text(error.to_json())
        assert KEY not in shown, "the key is in the error"
        assert error.details["provider"] == provider.name
        assert error.details["model"] == request.model_name

    async def fails(
        self, server: ModelServer, provider: Provider, name: str, kind: type[ModelError], **more: Any
    ) -> ModelError:
        """Make the call of a case that fails; its error."""
        with pytest.raises(kind) as caught:
            await self.play(server, provider, name, **more)
        return caught.value
