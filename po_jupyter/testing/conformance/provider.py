"""What every provider must do, as tests that any implementation can be put through.

    from po_jupyter.testing.conformance.provider import ProviderConformance

    class TestMine(ProviderConformance):
        exchanges = Path(__file__).parent / "mine.json"    # or the name of a file in `exchanges/`
        model = "mine:model-1"

        def make(self, server, http):
            return MyProvider(Endpoint(server.base_url, server.key), http)

        def accept(self, request):        # optional: raise unless the vendor would take this request
            ...

The exchanges are what a vendor's server answers, replayed by a real server on loopback. Each file says which
reference it was written after and when that was read; an exchange is `{status, headers, body}` or
`{status, headers, events}`, `like` names another file that fills in what is not there. A case whose exchange is
missing is skipped: the API does not have it. `{key}` in a body is replaced by the key: an error that shows it
must not be passed on.

Each case makes one call, so each also checks that one HTTP request was made, that the vendor would accept it
(`accept`), and that the key went into a header and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from po_jupyter.errors import (
    AnswerTruncated,
    AnswerUnreadable,
    ModelError,
    ModelKeyError,
    ModelRateLimited,
    ModelRefused,
    ModelUnavailable,
)
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Image, Message, Provider, Tool
from po_jupyter.llm.http import Http
from po_jupyter.llm.structured import AnswerSchema, parse_json
from po_jupyter.testing.model_server import ModelServer, Recorded, Reply

KEY = "sk-conf-4f9a8b7c6d5e4f3a2b1c"
HELLO = "Hello! How can I help you today?"
UNICODE = "Grüße 日本 🎉"
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
LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens")
STOPS = ("stop", "stop_sequences", "stopSequences")
EFFORTS = ("reasoning_effort", "reasoning", "thinking", "enable_thinking", "thinkingConfig", "effort")
SHAPES = ("response_format", "text", "output_config", "responseJsonSchema", "responseMimeType")


def load(name: str | Path) -> dict[str, Any]:
    """The file of exchanges, with what `like` fills in."""
    path = name if isinstance(name, Path) else Path(__file__).parent / "exchanges" / f"{name}.json"
    said: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if said.get("like"):
        said["exchanges"] = {**load(said["like"])["exchanges"], **said["exchanges"]}
    return said


def reply_of(exchange: dict[str, Any], key: str = KEY) -> Reply:
    """An exchange as the model server's reply."""
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


def found(value: Any, *names: str) -> list[Any]:
    """What is under any of the names, anywhere in a body, but not inside a schema's properties."""
    hits: list[Any] = []
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in names:
                hits.append(inner)
            if name not in ("properties", "parameters", "input_schema"):
                hits += found(inner, *names)
    elif isinstance(value, list):
        for inner in value:
            hits += found(inner, *names)
    return hits


def words(body: Any) -> str:
    """The body as text, to look for something said in it."""
    return json.dumps(body, ensure_ascii=False)


class ProviderConformance:
    """See the module. `thinker` takes an effort, `fixed` refuses a temperature; None: there is none such."""

    exchanges: ClassVar[str | Path] = ""
    model: ClassVar[str] = ""
    thinker: ClassVar[str | None] = None
    fixed: ClassVar[str | None] = None
    lacks: ClassVar[frozenset[str]] = frozenset()  # of: seed, images, forced tools

    def make(self, server: ModelServer, http: Http) -> Provider:
        """The provider under test, with `server.key` as its key."""
        raise NotImplementedError

    def accept(self, request: Recorded) -> None:
        """Raise unless the vendor would accept the request."""

    # -- the stage --------------------------------------------------------------------------------------
    @pytest.fixture
    def server(self) -> Iterator[ModelServer]:
        with ModelServer(key=KEY) as running:
            yield running
            for request in running.requests:
                self.accept(request)
                shown = words(request.body) + request.path
                assert KEY not in shown, "the key is in the body or the URL"
                assert sum(KEY in value for value in request.headers.values()) == 1

    @pytest.fixture
    async def provider(self, server: ModelServer) -> AsyncIterator[Provider]:
        http = Http()
        made = self.make(server, http)
        yield made
        assert KEY not in repr(made)
        await made.aclose()
        await http.aclose()

    def ask(
        self, text: str = "Hello", *, system: str = "", model: str | None = None, **more: Any
    ) -> ChatRequest:
        """A request to the model under test."""
        messages = (*((Message("system", system),) if system else ()), Message("user", text))
        return ChatRequest(model or self.model, more.pop("messages", messages), **more)

    def exchange(self, name: str) -> dict[str, Any]:
        """The exchange of a case; the case is skipped when the API has none."""
        said = load(self.exchanges)["exchanges"]
        if name not in said:
            pytest.skip(f"inapplicable: this API has no {name}")
        exchange: dict[str, Any] = said[name]
        return exchange

    async def play(
        self,
        server: ModelServer,
        provider: Provider,
        name: str,
        request: ChatRequest | None = None,
        **more: Any,
    ) -> tuple[ChatResponse, list[str], dict[str, Any]]:
        """(response, the pieces that were streamed, the body that was sent)."""
        exchange = self.exchange(name)
        server.script(reply_of(exchange))
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
        shown = str(error) + repr(error) + words(error.to_json())
        assert KEY not in shown, "the key is in the error"
        assert error.details["provider"] == provider.name
        assert error.details["model"] == request.model_name

    async def fails(
        self, server: ModelServer, provider: Provider, name: str, kind: type[ModelError], **more: Any
    ) -> ModelError:
        """The error of a case."""
        with pytest.raises(kind) as caught:
            await self.play(server, provider, name, **more)
        return caught.value

    # -- answers ----------------------------------------------------------------------------------------
    def test_the_exchanges_say_their_reference_and_its_date(self) -> None:
        said = load(self.exchanges)
        assert said["reference"].startswith("https://")
        assert said["read"]
        assert said["how"]

    async def test_a_plain_answer(self, server: ModelServer, provider: Provider) -> None:
        response, _, _ = await self.play(server, provider, "plain")
        assert (response.text, response.finish) == (HELLO, "stop")
        assert response.model
        assert response.seconds > 0
        assert ChatResponse.from_json(json.loads(json.dumps(response.to_json()))) == response

    async def test_a_streamed_answer_comes_in_pieces_and_whole(
        self, server: ModelServer, provider: Provider
    ) -> None:
        """G11."""
        response, pieces, _ = await self.play(server, provider, "plain_stream")
        assert (response.text, response.finish) == (HELLO, "stop")
        assert "".join(pieces) == HELLO
        assert len(pieces) > 3

    async def test_streamed_and_whole_are_the_same(self, server: ModelServer, provider: Provider) -> None:
        whole, _, body = await self.play(server, provider, "unicode")
        streamed, _, streaming = await self.play(server, provider, "unicode_stream")
        assert whole.text == streamed.text == UNICODE
        for name in ("stream", "stream_options"):
            streaming.pop(name, None)
        assert body == streaming

    async def test_usage_is_counted(self, server: ModelServer, provider: Provider) -> None:
        response, _, _ = await self.play(server, provider, "plain")
        assert response.usage.input_tokens > 0
        assert response.usage.output_tokens > 0
        assert response.usage.calls == 1
        assert not response.estimated

    async def test_usage_of_a_stream_is_counted(self, server: ModelServer, provider: Provider) -> None:
        response, _, _ = await self.play(server, provider, "plain_stream")
        assert response.usage.input_tokens > 0
        assert response.usage.output_tokens > 0
        assert not response.estimated

    async def test_cached_tokens_are_part_of_the_input(self, server: ModelServer, provider: Provider) -> None:
        response, _, _ = await self.play(server, provider, "cached")
        usage = response.usage
        assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (2006, 1920, 300)

    async def test_reasoning_tokens_are_part_of_the_output(
        self, server: ModelServer, provider: Provider
    ) -> None:
        response, _, _ = await self.play(server, provider, "reasoned")
        usage = response.usage
        assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (75, 1186, 1024)
        assert response.text == HELLO, "what the model thought is no part of the answer"

    async def test_the_request_has_an_id(self, server: ModelServer, provider: Provider) -> None:
        response, _, _ = await self.play(server, provider, "plain")
        assert response.request_id

    async def test_an_empty_answer_is_an_answer(self, server: ModelServer, provider: Provider) -> None:
        response, _, _ = await self.play(server, provider, "empty")
        assert response.text == ""

    async def test_what_is_not_known_is_passed_over(self, server: ModelServer, provider: Provider) -> None:
        response, pieces, _ = await self.play(server, provider, "noise_stream")
        assert response.text == "".join(pieces) == HELLO

    async def test_events_that_come_twice_count_once(self, server: ModelServer, provider: Provider) -> None:
        response, pieces, _ = await self.play(server, provider, "doubled_stream")
        once, _, _ = await self.play(server, provider, "plain_stream")
        assert response.text == "".join(pieces) == HELLO
        assert response.usage == once.usage

    # -- what is sent -----------------------------------------------------------------------------------
    async def test_system_messages_are_sent(self, server: ModelServer, provider: Provider) -> None:
        _, _, body = await self.play(server, provider, "plain", system="Be short.")
        assert "Be short." in words(body)

    async def test_several_system_messages_are_sent(self, server: ModelServer, provider: Provider) -> None:
        turns = (
            Message("system", "First rule."),
            Message("user", "Hi"),
            Message("system", "Second rule."),
            Message("user", "Go on"),
        )
        _, _, body = await self.play(server, provider, "plain", messages=turns)
        assert "First rule." in words(body)
        assert "Second rule." in words(body)

    async def test_turns_keep_their_order(self, server: ModelServer, provider: Provider) -> None:
        turns = (Message("user", "turn one"), Message("assistant", "turn two"), Message("user", "turn three"))
        _, _, body = await self.play(server, provider, "plain", messages=turns)
        text = words(body)
        assert text.index("turn one") < text.index("turn two") < text.index("turn three")

    async def test_only_what_was_asked_for_is_sent(self, server: ModelServer, provider: Provider) -> None:
        """R2.7: one default of the temperature, which is to send none; the same for everything else."""
        _, _, body = await self.play(server, provider, "plain")
        assert not found(
            body, "temperature", "top_p", "seed", "tools", "tool_choice", *STOPS, *EFFORTS, *SHAPES[:1]
        )

    async def test_the_limit_is_sent(self, server: ModelServer, provider: Provider) -> None:
        _, _, body = await self.play(server, provider, "plain", max_tokens=321)
        assert found(body, *LIMITS) == [321]

    async def test_the_temperature_is_sent(self, server: ModelServer, provider: Provider) -> None:
        _, _, body = await self.play(server, provider, "plain", temperature=0.25)
        assert found(body, "temperature") == [] if self.fixed == self.model else [0.25]

    async def test_no_temperature_goes_to_a_model_that_refuses_it(
        self, server: ModelServer, provider: Provider
    ) -> None:
        """R2.7."""
        if self.fixed is None:
            pytest.skip("inapplicable: every model takes a temperature")
        _, _, body = await self.play(server, provider, "plain", temperature=0.25, model=self.fixed)
        assert found(body, "temperature") == []

    async def test_stop_sequences_end_the_answer(self, server: ModelServer, provider: Provider) -> None:
        response, _, body = await self.play(server, provider, "stopped", stop=("END",))
        assert response.text.rstrip() == "One, two", "sent, or cut here"
        assert response.finish == "stop"
        if "END" in words(self.exchange("stopped")["body"]):
            assert found(body, *STOPS) == []
        else:
            assert found(body, *STOPS) == [["END"]]

    async def test_a_seed_is_sent_or_left_out(self, server: ModelServer, provider: Provider) -> None:
        _, _, body = await self.play(server, provider, "plain", seed=7)
        assert found(body, "seed") == ([] if "seed" in self.lacks else [7])

    async def test_json_mode(self, server: ModelServer, provider: Provider) -> None:
        response, _, body = await self.play(server, provider, "json", json=True)
        assert parse_json(response.text) == {"label": "bug", "score": 3}
        assert found(body, *SHAPES[:1], "format", "responseMimeType") or "JSON" in words(body)

    async def test_a_schema_is_enforced_or_told(self, server: ModelServer, provider: Provider) -> None:
        response, _, body = await self.play(server, provider, "json", schema=SCHEMA)
        assert AnswerSchema(SCHEMA).violations(parse_json(response.text)) == []
        assert "praise" in words(body)

    async def test_a_schema_with_a_stream(self, server: ModelServer, provider: Provider) -> None:
        response, pieces, _ = await self.play(server, provider, "json_stream", schema=SCHEMA)
        assert parse_json(response.text) == {"label": "bug", "score": 3}
        assert "".join(pieces) == response.text

    async def test_what_of_a_schema_cannot_be_enforced_is_told(
        self, server: ModelServer, provider: Provider
    ) -> None:
        before = json.dumps(RICH_SCHEMA)
        _, _, body = await self.play(server, provider, "json", schema=RICH_SCHEMA)
        assert "^[a-z]+$" in words(body)
        assert "exclusiveMinimum" in words(body)
        assert json.dumps(RICH_SCHEMA) == before, "the caller's schema is not touched"

    async def test_images_are_sent(self, server: ModelServer, provider: Provider) -> None:
        """G15."""
        turns = (Message("user", "What is this?", images=(PIXEL,)),)
        _, _, body = await self.play(server, provider, "plain", messages=turns)
        assert PIXEL.data in words(body)
        assert "image/png" in words(body)
        assert "What is this?" in words(body)

    # -- tools ------------------------------------------------------------------------------------------
    @pytest.mark.parametrize("stream", ["", "_stream"])
    async def test_a_tool_call(self, server: ModelServer, provider: Provider, stream: str) -> None:
        """G15."""
        response, _, body = await self.play(server, provider, f"tool{stream}", tools=(WEATHER, CLOCK))
        (call,) = response.tool_calls
        assert (call.name, dict(call.arguments)) == ("get_weather", {"city": "Berlin"})
        assert call.id
        assert response.finish == "tool_calls"
        assert "get_time" in words(body)

    async def test_two_tool_calls_in_their_order(self, server: ModelServer, provider: Provider) -> None:
        response, _, _ = await self.play(server, provider, "two_tools", tools=(WEATHER, CLOCK))
        assert [call.name for call in response.tool_calls] == ["get_weather", "get_time"]
        assert len({call.id for call in response.tool_calls}) == 2
        assert dict(response.tool_calls[1].arguments) == {}

    @pytest.mark.parametrize("choice", ["none", "required", "get_weather"])
    async def test_the_choice_of_a_tool_is_sent(
        self, server: ModelServer, provider: Provider, choice: str
    ) -> None:
        _, _, body = await self.play(server, provider, "tool", tools=(WEATHER,), tool_choice=choice)
        (said,) = found(body, "tool_choice", "functionCallingConfig")
        if choice == "get_weather" and "forced tools" not in self.lacks:
            assert choice in words(said)

    @pytest.mark.parametrize("name", ["tool", "thought_tool", "thought_tool_stream"])
    async def test_results_of_tools_go_back_with_what_the_provider_wants_back(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        request = self.ask(
            "Weather in Berlin?", tools=(WEATHER,), model=self.thinker if "thought" in name else None
        )
        response, _, _ = await self.play(server, provider, name, request)
        again = ChatResponse.from_json(json.loads(json.dumps(response.to_json())))  # as a crash leaves it
        (call,) = again.tool_calls
        result = Message("tool", "18 degrees", tool_call_id=call.id)
        _, _, body = await self.play(server, provider, "plain", request.then(again.message, result))
        text = words(body)
        assert "18 degrees" in text
        assert call.name in text
        assert "Berlin" in text
        for secret in ("signature", "thoughtSignature", "encrypted_content", "reasoning_content"):
            for given in found(self.exchange(name), secret):
                if given and "thought" in name and not name.endswith("_stream"):
                    assert given in text, f"{secret} goes back"

    async def test_arguments_that_are_not_json_are_unreadable(
        self, server: ModelServer, provider: Provider
    ) -> None:
        error = await self.fails(server, provider, "bad_tool", AnswerUnreadable, tools=(WEATHER,))
        assert "Ber" in error.details["sample"]

    # -- reasoning --------------------------------------------------------------------------------------
    @pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
    async def test_an_effort_is_sent_to_models_that_reason(
        self, server: ModelServer, provider: Provider, effort: Any
    ) -> None:
        if self.thinker is None:
            pytest.skip("inapplicable: no model is told how much to reason")
        _, _, body = await self.play(
            server, provider, "plain", effort=effort, max_tokens=9000, model=self.thinker
        )
        assert effort == "none" or found(body, *EFFORTS)

    # -- ends that are no answers -----------------------------------------------------------------------
    @pytest.mark.parametrize("name", ["truncated", "truncated_stream", "context_full"])
    async def test_truncation_is_an_error_with_its_usage(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        error = await self.fails(server, provider, name, AnswerTruncated, max_tokens=10)
        assert not error.transient
        assert error.details["usage"]["output_tokens"] > 0
        assert error.details["sample"].startswith("Once")

    @pytest.mark.parametrize("name", ["refused", "refused_stream"])
    async def test_a_refusal_is_an_error_with_its_words(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        error = await self.fails(server, provider, name, ModelRefused)
        assert not error.transient
        assert error.details["usage"]["input_tokens"] > 0
        assert "refused" in str(error)

    async def test_a_content_filter_is_a_refusal(self, server: ModelServer, provider: Provider) -> None:
        error = await self.fails(server, provider, "filtered", ModelRefused)
        assert not error.transient

    @pytest.mark.parametrize("name", ["gave_up", "malformed_tool", "failed_stream"])
    async def test_an_answer_that_was_given_up_is_worth_another_try(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        error = await self.fails(server, provider, name, ModelError)
        assert error.transient

    async def test_a_stream_that_breaks_is_transient_and_its_tokens_are_counted(
        self, server: ModelServer, provider: Provider
    ) -> None:
        error = await self.fails(server, provider, "cut_stream", ModelUnavailable)
        assert error.details["usage"]["output_tokens"] > 0

    async def test_an_error_inside_a_stream_is_that_error(
        self, server: ModelServer, provider: Provider
    ) -> None:
        error = await self.fails(server, provider, "error_stream", ModelUnavailable)
        assert "broke off" not in str(error)

    # -- errors -----------------------------------------------------------------------------------------
    @pytest.mark.parametrize("name", ["unauthorized", "forbidden"])
    async def test_a_refused_key_is_a_key_error_without_the_key(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        """P10."""
        error = await self.fails(server, provider, name, ModelKeyError)
        assert not error.transient

    @pytest.mark.parametrize("name", ["not_found", "too_long", "no_credit"])
    async def test_what_waiting_does_not_cure_is_refused(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        error = await self.fails(server, provider, name, ModelRefused)
        assert not error.transient
        assert name != "not_found" or error.hint

    async def test_a_rate_limit_says_how_long_to_wait(self, server: ModelServer, provider: Provider) -> None:
        """P7."""
        error = await self.fails(server, provider, "rate_limited", ModelRateLimited)
        assert error.retry_after == 7.0

    @pytest.mark.parametrize("name", ["server_error", "overloaded"])
    async def test_a_failing_server_is_transient(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        error = await self.fails(server, provider, name, ModelError)
        assert error.transient

    @pytest.mark.parametrize("name", ["not_found", "rate_limited", "server_error", "truncated"])
    async def test_errors_name_the_request_where_the_server_does(
        self, server: ModelServer, provider: Provider, name: str
    ) -> None:
        exchange = self.exchange(name)
        ids = [v for k, v in exchange["headers"].items() if "request-id" in k or "trace-id" in k]
        ids += found(exchange["body"], "request_id", "responseId")
        error = await self.fails(server, provider, name, ModelError)
        if ids:
            assert error.details["request_id"] in ids

    # -- many -------------------------------------------------------------------------------------------
    async def test_calls_at_the_same_time_do_not_mix(self, server: ModelServer, provider: Provider) -> None:
        async def one(n: int) -> None:
            pieces: list[str] = []
            on_text = pieces.append if n % 2 else None
            response = await provider.chat(self.ask(f"number {n}"), on_text=on_text)
            assert response.text == f"echo: number {n}"
            assert "".join(pieces) in ("", response.text)

        await asyncio.gather(*(one(n) for n in range(20)))
        assert len(server.requests) == 20

    async def test_text_that_is_no_valid_unicode_is_sent_all_the_same(
        self, server: ModelServer, provider: Provider
    ) -> None:
        _, _, body = await self.play(server, provider, "plain", text="half \ud83d of a sign")
        assert "half" in words(body)
