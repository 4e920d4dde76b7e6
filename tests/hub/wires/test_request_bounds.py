"""Requests bounded: models, limits, images, and what is not passed on."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from po_jupyter.hub.problems import GatewayProblem
from po_jupyter.hub.wires.operations import Api
from po_jupyter.hub.wires.request_bounds import bound_request, read_json
from po_jupyter.llm.money.tokens import image_bound

ASKED: Any = [{"role": "user", "content": "hello"}]


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-5-mini", "messages": ASKED, **fields}


@pytest.mark.parametrize(
    ("ref", "field"),
    [
        ("openai:gpt-5-mini", "max_completion_tokens"),
        ("openai:gpt-4o", "max_tokens"),
        ("mistral:x", "max_tokens"),
        ("cerebras:gpt-oss-120b", "max_completion_tokens"),
        ("my-own:x", "max_tokens"),
        ("deepseek:deepseek-chat", "max_tokens"),
    ],
)
def test_a_limit_goes_out_under_the_name_that_the_server_knows(ref: str, field: str) -> None:
    """A server that does not know `max_completion_tokens` writes as long as it likes."""
    for given in ("max_tokens", "max_completion_tokens"):
        request = bound_request("chat", chat(**{given: 70}))
        assert request.output_bound(ref, 999) == 70
        assert {name: value for name, value in request.body.items() if "tokens" in name} == {field: 70}


@pytest.mark.parametrize(
    ("ref", "bound", "put"),
    [("openai:gpt-4o", 16_384, 16_384), ("openai:gpt-5", 999, 999), ("mistral:x", 999, 999)],
)
def test_a_request_without_a_limit_has_the_models_or_gets_one(ref: str, bound: int, put: int) -> None:
    request = bound_request("chat", chat())
    assert request.output_bound(ref, 999) == bound
    assert (request.body.get("max_tokens") or request.body.get("max_completion_tokens")) == put


def test_each_answer_is_bounded() -> None:
    assert bound_request("chat", chat(n=3, max_tokens=10)).output_bound("openai:gpt-4o", 1) == 30
    gemini = {"contents": [], "generationConfig": {"candidate_count": 4, "max_output_tokens": 10}}
    request = bound_request("gemini", gemini, path_model="gemini-2.5-flash")
    assert request.output_bound("gemini:gemini-2.5-flash", 1) == 40
    assert request.body["generationConfig"] == {"candidateCount": 4, "maxOutputTokens": 10}


def test_thoughts_with_a_budget_of_their_own_are_beside_the_limit() -> None:
    request = bound_request("chat", chat(max_tokens=10, thinking_budget=500, n=2))
    assert request.output_bound("alibaba:qwen-plus", 1) == 1020
    for bad in (-1, "5", 1.5, 10**9, True, [1]):
        with pytest.raises(GatewayProblem):
            bound_request("chat", chat(thinking_budget=bad))


def test_the_bound_of_the_input_is_its_bytes() -> None:
    text = "日本語 " * 100
    request = bound_request("chat", chat(messages=[{"role": "user", "content": text}]))
    assert request.input_bound("openai:gpt-5", len(request.encoded())) >= len(text.encode())


@pytest.mark.parametrize(
    ("api", "body"),
    [
        (
            "chat",
            chat(
                messages=[
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "image_url",
                                "image_url": {"url": "data:image/png;base64," + "A" * 100_000},
                            }
                        ],
                    }
                ]
            ),
        ),
        (
            "chat",
            chat(
                messages=[
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": "data:image/png;base64," + "A" * 100_000}
                        ],
                    }
                ]
            ),
        ),
        (
            "responses",
            {
                "model": "m",
                "input": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 100_000}
                        ],
                    }
                ],
            },
        ),
        (
            "messages",
            {
                "model": "m",
                "max_tokens": 1,
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "tool_result",
                                "tool_use_id": "1",
                                "content": [
                                    {
                                        "type": "image",
                                        "source": {
                                            "type": "base64",
                                            "media_type": "image/png",
                                            "data": "A" * 100_000,
                                        },
                                    }
                                ],
                            }
                        ],
                    }
                ],
            },
        ),
        (
            "gemini",
            {"contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": "A" * 100_000}}]}]},
        ),
    ],
)
def test_an_image_is_bounded_as_an_image_and_not_by_its_bytes(api: Api, body: dict[str, Any]) -> None:
    request = bound_request(api, body, path_model="m")
    bound = request.input_bound("anthropic:y", len(request.encoded()))
    assert request.images == 1 and image_bound("anthropic:y") < bound < image_bound("anthropic:y") + 2000


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("chat", chat(functions_=[])),
        ("chat", chat(tools=[{"type": "mcp"}])),
        ("chat", chat(tools="x")),
        ("chat", chat(tools=[1])),
        ("chat", chat(messages=[{"role": "assistant", "audio": {"id": "audio_1"}}])),
        (
            "chat",
            chat(
                messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"file_id": "f"}}]}]
            ),
        ),
        ("chat", chat(messages=[{"role": "user", "content": [{"type": "image_url"}]}])),
        ("chat", chat(messages=[{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}])),
        ("gemini", {"contents": [{"parts": [{"inlineData": {"mimeType": "audio/wav", "data": "UklG"}}]}]}),
        ("responses", {"model": "m", "input": "x", "background": True}),
        ("responses", {"model": "m", "input": "x", "previous_response_id": "resp_1"}),
        ("responses", {"model": "m", "input": "x", "conversation": "conv_1"}),
        ("responses", {"model": "m", "input": "x", "prompt": {"id": "pmpt_1"}}),
        ("responses", {"model": "m", "input": [{"type": "item_reference", "id": "msg_1"}]}),
        (
            "responses",
            {"model": "m", "input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        ),
        (
            "responses",
            {"model": "m", "input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
        ),
        ("responses", {"model": "m", "input": "x", "tools": [{"type": "code_interpreter"}]}),
        ("responses", {"model": "m", "input": "x", "max_tokens": 5}),
        ("messages", {"model": "m", "messages": ASKED}),
        ("messages", {"model": "m", "max_tokens": None, "messages": ASKED}),
        ("messages", {"model": "m", "max_tokens": 9, "messages": ASKED, "mcp_servers": []}),
        ("messages", {"model": "m", "max_tokens": 9, "messages": ASKED, "container": "c"}),
        ("messages", {"model": "m", "max_tokens": 9, "messages": ASKED, "service_tier": "priority"}),
        ("gemini", {"contents": [], "serviceTier": "priority"}),
        ("gemini", {"contents": [], "service_tier": "priority"}),
        (
            "messages",
            {"model": "m", "max_tokens": 9, "messages": ASKED, "tools": [{"type": "web_search_20250305"}]},
        ),
        (
            "messages",
            {
                "model": "m",
                "max_tokens": 9,
                "messages": ASKED,
                "thinking": {"type": "enabled", "budget_tokens": 99},
            },
        ),
        ("messages", {"model": "m", "max_tokens": 9, "messages": ASKED, "thinking": {"budget_tokens": "5"}}),
        (
            "messages",
            {
                "model": "m",
                "max_tokens": 9,
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "document", "source": {"type": "url", "url": "http://x/y.pdf"}}],
                    }
                ],
            },
        ),
        (
            "messages",
            {
                "model": "m",
                "max_tokens": 9,
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}
                ],
            },
        ),
        (
            "messages",
            {
                "model": "m",
                "max_tokens": 9,
                "messages": ASKED,
                "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
            },
        ),
        ("gemini", {"contents": [], "cachedContent": "cachedContents/1"}),
        ("gemini", {"contents": [], "cached_content": "c"}),
        ("gemini", {"contents": [], "tools": [{"googleSearch": {}}]}),
        ("gemini", {"contents": [], "tools": [{"url_context": {}}]}),
        ("gemini", {"contents": [{"parts": [{"fileData": {"fileUri": "https://x"}}]}]}),
        ("gemini", {"contents": [{"parts": [{"file_data": {"file_uri": "https://x"}}]}]}),
        ("gemini", {"contents": [{"parts": [{"inlineData": {"mimeType": "application/pdf", "data": "A"}}]}]}),
        ("gemini", {"contents": [{"parts": [{"inlineData": "x"}]}]}),
        ("gemini", {"contents": [{"parts": "x"}]}),
        ("gemini", {"contents": [], "generationConfig": {"responseModalities": ["AUDIO"]}}),
        ("gemini", {"contents": [], "generationConfig": {"speechConfig": {}}}),
        ("gemini", {"contents": [], "generationConfig": 5}),
        ("gemini", {"contents": [], "generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 99_999}}),
        ("gemini", {"contents": [], "generationConfig": {"candidateCount": 500}}),
        ("gemini", {"contents": "x"}),
        ("gemini", {"contents": [], "generation_config": {}, "generationConfig": {}}),
    ],
)
def test_what_could_not_be_counted_is_not_passed_on(api: Api, body: dict[str, Any]) -> None:
    with pytest.raises(GatewayProblem) as refused:
        bound_request(api, body, path_model="m")
    assert (refused.value.status, refused.value.code) == (400, "invalid_request")


def test_an_administrator_may_allow_further_fields() -> None:
    request = bound_request("chat", chat(guided_choice=["a"]), fields=("guided_choice",))
    assert request.body["guided_choice"] == ["a"]


def test_what_our_own_providers_send_is_passed_on() -> None:
    """Every field of the bodies that po_jupyter writes, for each wire."""
    from po_jupyter.llm.chat import ChatRequest, Message
    from po_jupyter.llm.providers.anthropic.messages import request_body as messages_body
    from po_jupyter.llm.providers.compatible.chat_completions import chat_body
    from po_jupyter.llm.providers.compatible.family import QUIRKS
    from po_jupyter.llm.providers.gemini.generate_content import request_body
    from po_jupyter.llm.providers.openai.responses import responses_body

    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    for effort in (None, "none", "low", "high"):
        for options in ({"schema": schema}, {"json": True}, {"stop": ("x",), "temperature": 0.3, "seed": 5}):
            request = ChatRequest(
                "openai:gpt-5-mini",
                (Message("system", "be brief"), Message("user", "hello")),
                max_tokens=500,
                effort=effort,
                **options,  # type: ignore[arg-type]
            )
            for name, quirks in QUIRKS.items():
                bound_request("chat", chat_body(request, stream=True, quirks=quirks, provider=name))
            bound_request("responses", responses_body(request, stream=True))
            bound_request("messages", messages_body(request, stream=True))
            bound_request("gemini", request_body(request), path_model="m")


def test_json_has_one_meaning() -> None:
    assert read_json(b'{"a": 1, "a": 2}') == {"a": 2}
    for bad in (b"", b"[]", b'{"a": NaN}', b'{"a": -Infinity}', b"\xff", b'{"a":' * 100_000):
        with pytest.raises(GatewayProblem):
            read_json(bad)


def test_a_stream_says_its_usage_where_it_has_to_be_asked() -> None:
    for provider, expected in (("openai", {"include_usage": True}), ("mistral", None)):
        request = bound_request("chat", chat(stream=True))
        request.ask_for_usage(provider)
        assert request.body.get("stream_options") == expected
    request = bound_request("chat", chat(stream=True, stream_options={"include_usage": False, "x": 1}))
    request.ask_for_usage("openai")
    assert request.body["stream_options"] == {"include_usage": True, "x": 1}


def one(part: Any, **message: Any) -> dict[str, Any]:
    return chat(messages=[{"role": "user", "content": [part], **message}])


URL = {"url": "https://x/y.png"}


def test_a_bound_goes_out_with_the_request_where_the_models_own_is_known_too() -> None:
    """What is known of a model may be less than what it writes."""
    for ref in ("openai:gpt-4", "openai:gpt-4-32k", "gemini:gemini-2.0-flash", "deepseek:deepseek-chat"):
        api: Api = "gemini" if ref.startswith("gemini") else "chat"
        request = bound_request(api, {"contents": []} if api == "gemini" else chat(), path_model="m")
        bound = request.output_bound(ref, 999)
        assert str(bound).encode() in request.encoded()


@pytest.mark.parametrize(
    ("model", "fields", "bound", "put"),
    [
        ("qwen3-max", {"enable_thinking": True}, 16 + 16_384, 16_384),
        ("qwen3-max", {"enable_thinking": True, "thinking_budget": 99}, 16 + 99, 99),
        ("qwen-plus", {}, 16 + 16_384, 16_384),
        ("qwen-plus", {"enable_thinking": False}, 16, None),
        ("qwen-plus", {"enable_thinking": False, "thinking_budget": 500}, 16, None),
        ("qwen-plus", {"thinking_budget": 0}, 16, None),
        ("qwq-plus", {"enable_thinking": False}, 16 + 131_072, 16_384),
        ("deepseek-r1", {}, 16 + 131_072, 16_384),
    ],
)
def test_thoughts_beside_the_limit_are_reserved_and_bounded(
    model: str, fields: dict[str, Any], bound: int, put: int | None
) -> None:
    request = bound_request("chat", chat(max_tokens=16, **fields))
    assert request.output_bound(f"alibaba:{model}", 1) == bound
    assert request.body.get("thinking_budget") == put
    assert put is not None or request.body["enable_thinking"] is False
    with pytest.raises(GatewayProblem):
        bound_request("chat", chat(chat_template_kwargs={"enable_thinking": True})).output_bound("alibaba:x", 1)


@pytest.mark.parametrize(
    ("ref", "at_vendor", "least"),
    [("openai:gpt-5.4", True, 12_500), ("openai:gpt-5.4", False, 16_384), ("inside:llava", True, 16_384),
     ("alibaba:qwen3-vl-plus", True, 16_384), ("anthropic:claude-haiku-4-5", True, 5000)],
)  # fmt: skip
def test_an_image_is_bounded_by_the_most_that_its_server_may_make_of_it(
    ref: str, at_vendor: bool, least: int
) -> None:
    request = bound_request("chat", one({"type": "image_url", "image_url": URL}))
    assert request.input_bound(ref, 0, at_vendor=at_vendor) >= least


@pytest.mark.parametrize(
    ("api", "fields", "thinks"),
    [
        ("messages", {"thinking": {"type": "enabled", "budget_tokens": 5}}, True),
        ("messages", {"thinking": {"type": "adaptive"}}, True),
        ("messages", {"thinking": {"type": "disabled"}}, False),
        ("messages", {"output_config": {"effort": "high"}}, True),
        ("chat", {"reasoning_effort": "low"}, True),
        ("chat", {"reasoning_effort": "none"}, True),  # whether the model obeys is not known
        ("chat", {"reasoning": {"effort": "high"}}, True),
        ("chat", {"enable_thinking": True}, True),
        ("chat", {"enable_thinking": False}, False),
        ("chat", {"thinking_budget": 5}, True),
        ("chat", {"chat_template_kwargs": {"thinking": True}}, True),
        ("gemini", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 5}}}, True),
        ("chat", {}, False),
    ],
)
def test_what_makes_a_model_think_is_seen(api: Api, fields: dict[str, Any], thinks: bool) -> None:
    body = {"contents": []} if api == "gemini" else chat(**({"max_tokens": 9} if api == "messages" else {}))
    assert bound_request(api, {**body, **fields}, path_model="m").thinks is thinks


def test_a_body_of_many_values_is_refused_before_it_is_parsed() -> None:
    for bad in (
        b'{"messages":[' + b"[]," * 300_000 + b"[]]}",
        b'{"a":"' + b'\\"' * 500_000,
        b'{"a":[' + b"1," * 400_000,
    ):
        began = time.perf_counter()
        with pytest.raises(GatewayProblem):
            read_json(bad)
        assert time.perf_counter() - began < 2
    text = "a,b[{" * 200_000 + '"\\'
    assert read_json(json.dumps({"a": text}).encode()) == {"a": text}
