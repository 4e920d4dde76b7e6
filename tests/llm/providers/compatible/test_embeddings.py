"""Embeddings over HTTP: OpenAI's wire and Gemini's, judged by the vendors' own SDKs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from po_jupyter.errors import ModelError, ModelRateLimited, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, ChatResponse, Message
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.providers.fake import word_vector
from po_jupyter.llm.specs import load_factory, specs
from po_jupyter.llm.vectors import pack, unpack
from po_jupyter.llm.wire.http import Http
from po_jupyter.testing.model_server import ModelServer, Reply
from tests.support import sdk_types as sdk

pytestmark = pytest.mark.integration

OPENAI = "openai:text-embedding-3-small"
ALL = [OPENAI, "azure:emb", "mistral:mistral-embed", "ollama:nomic-embed-text", "gemini:gemini-embedding-001"]


async def ask(server: ModelServer, ref: str, text: str = "one two three") -> ChatResponse:
    spec = specs()[ref.partition(":")[0]]
    base = server.root_url if spec.name in ("gemini", "azure") else server.base_url
    http = Http()
    try:
        provider: Any = load_factory(spec)(
            ProviderContext(spec, {spec.key_env: "k", spec.base_env: base}, http)
        )
        assert provider.embeds and spec.embeddings
        return await provider.chat(ChatRequest(ref, (Message("user", text),), embed=True))
    finally:
        await http.aclose()


@pytest.mark.parametrize("ref", ALL)
async def test_one_text_becomes_one_vector_and_all_of_its_usage_is_input(ref: str) -> None:
    with ModelServer() as server:
        response = await ask(server, ref)
        (request,) = server.requests
    assert unpack(response.text) == unpack(pack(word_vector("one two three")))
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, response.estimated) == (3, 0, False)
    if ref.startswith("gemini"):
        from google.genai.types import Content

        assert request.path == "/v1beta/models/gemini-embedding-001:embedContent"
        sdk.accepted(Content, request.body["content"])
    else:
        from openai.types.embedding_create_params import EmbeddingCreateParams

        assert request.path == ("/openai/v1/embeddings" if ref.startswith("azure") else "/v1/embeddings")
        sdk.accepted(EmbeddingCreateParams, request.body)


async def test_an_answer_without_usage_is_estimated_and_has_no_output() -> None:
    body = json.dumps({"embedding": {"values": [0.5, 0.25]}}).encode()
    with ModelServer(Reply(body=body)) as server:
        response = await ask(server, "gemini:gemini-embedding-001")
    assert unpack(response.text) == [0.5, 0.25]
    assert response.estimated and response.usage.input_tokens > 0 and response.usage.output_tokens == 0


@pytest.mark.parametrize(
    "body",
    [
        {"data": []}, {"data": [{"embedding": []}]}, {"data": [{"embedding": ["a"]}]}, {}, {"data": 5},
        {"data": [{"index": 1, "embedding": [1.0]}, {"index": 0, "embedding": [0.5]}]},
    ],
)  # fmt: skip
async def test_an_answer_without_a_vector_is_worth_another_try(body: dict[str, Any]) -> None:
    server = ModelServer(Reply(body=json.dumps(body).encode()))
    with server, pytest.raises(ModelUnavailable, match="vector"):
        await ask(server, OPENAI)


async def test_errors_are_those_of_a_chat() -> None:
    limited = ModelServer(Reply(status=429, headers={"retry-after": "2"}))
    with limited, pytest.raises(ModelRateLimited) as caught:
        await ask(limited, OPENAI)
    assert caught.value.retry_after == 2
    with ModelServer(key="another") as server, pytest.raises(ModelError) as refused:
        await ask(server, OPENAI)
    assert refused.value.code == "model_key"
