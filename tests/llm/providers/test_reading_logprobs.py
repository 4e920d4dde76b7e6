"""Log probabilities in answers, read from each wire that has them, whole and streamed."""

from __future__ import annotations

import json
from math import log
from typing import Any

import pytest

from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.logprobs import label_probability
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.specs import load_factory, specs
from po_jupyter.llm.wire.http import Http
from po_jupyter.testing.model_server import ModelServer, Reply

pytestmark = pytest.mark.integration

LABELS = ("bug", "question")
SCHEMA = {"type": "object", "required": ["label"], "additionalProperties": False, "properties": {
    "label": {"type": "string", "enum": list(LABELS)}}}  # fmt: skip


async def asked(model: str, reply: Reply, *, stream: bool = False, **more: Any) -> Any:
    name = model.partition(":")[0]
    spec, http = specs()[name], Http()
    more = {"schema": SCHEMA, "logprobs": True, **more}
    with ModelServer(key="k") as server:
        server.enqueue(reply)
        base = server.root_url if name == "gemini" else server.base_url
        provider = load_factory(spec)(ProviderContext(spec, {spec.key_env: "k", spec.base_env: base}, http))
        request = ChatRequest(model, (Message("user", "x"),), **more)
        try:
            return await provider.chat(request, on_text=(lambda piece: None) if stream else None)
        finally:
            await http.aclose()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["openai:gpt-4.1-mini", "openai:gpt-5.2", "vllm:Qwen/Qwen3-4B"])
async def test_chat_completions(model: str, stream: bool) -> None:
    """The model server gives them too, so that everybody can try; gpt-5 goes there, and not to Responses."""
    response = await asked(model, Reply('{"label": "question"}', confidence=0.6), stream=stream, effort="none")
    assert "".join(token.token for token in response.logprobs) == response.text
    assert label_probability(response.logprobs, "label", "question", LABELS) == pytest.approx(0.6)


async def test_an_answer_to_who_did_not_ask_has_none() -> None:
    assert (await asked("openai:gpt-4.1-mini", Reply('{"label": "bug"}'), logprobs=False)).logprobs == ()


async def test_gemini() -> None:
    said = [('{"label": "', 1.0, {}), ("bug", 0.6, {"bug": 0.6, "question": 0.2, "Bug": 0.2}), ('"}', 1.0, {})]
    result = {
        "chosenCandidates": [{"token": text, "tokenId": 1, "logProbability": log(p)} for text, p, _ in said],
        "topCandidates": [
            {"candidates": [{"token": text, "logProbability": log(p)} for text, p in others.items()]}
            for _, _, others in said
        ],
    }
    body = {"candidates": [{"content": {"parts": [{"text": '{"label": "bug"}'}], "role": "model"},
                            "finishReason": "STOP", "logprobsResult": result}],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4}}  # fmt: skip
    response = await asked(
        "gemini:gemini-2.0-flash", Reply(body=json.dumps(body).encode(), content_type="application/json")
    )
    assert label_probability(response.logprobs, "label", "bug", LABELS) == pytest.approx(0.75)


async def test_a_server_without_them_is_no_fault() -> None:
    body = {"id": "x", "object": "chat.completion", "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": '{"label": "bug"}'}, "finish_reason": "stop",
         "logprobs": None}], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}  # fmt: skip
    reply = Reply(body=json.dumps(body).encode(), content_type="application/json")
    assert (await asked("vllm:Qwen/Qwen3-4B", reply)).logprobs == ()
