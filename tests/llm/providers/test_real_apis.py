"""The three APIs of a real server: llama.cpp's own, with the embedded model (B7). Needs the extra `local`.

It is a real implementation, by others, of `/v1/chat/completions`, `/v1/responses` and `/v1/messages`. The model
is of demo quality: what it says does not matter here, only how. FINDINGS: its Responses ignores schemas.
"""

import importlib.util
import os

import pytest
import pytest_asyncio

from po_jupyter.errors import AnswerTruncated, ModelKeyError, ModelRefused
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.local.server import LocalServers
from po_jupyter.llm.local.weights import fetch
from po_jupyter.llm.providers.anthropic.client import Anthropic
from po_jupyter.llm.providers.compatible.chat_completions import ChatCompletions
from po_jupyter.llm.providers.compatible.family import Quirks
from po_jupyter.llm.providers.openai.responses import Responses
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.structured.parsing import AnswerValidator, parse_json
from po_jupyter.llm.wire.http import Http

HERE = importlib.util.find_spec("xllamacpp") is not None
STRICT = bool(os.environ.get("PO_TEST_STRICT"))
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not HERE and not STRICT, reason="needs the extra `local`: pip install '.[local]'"),
    pytest.mark.asyncio(loop_scope="module"),
]
SCHEMA = {
    "type": "object",
    "required": ["label"],
    "additionalProperties": False,
    "properties": {"label": {"enum": ["library", "tool"]}},
}
APIS = ["chat", "responses", "messages"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def endpoint():
    fetch("smollm2-135m")
    servers = LocalServers()
    yield await servers.endpoint("smollm2-135m")
    await servers.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def providers(endpoint):
    http = Http()
    root = ProviderEndpoint(endpoint.base_url.removesuffix("/v1"), endpoint.key)
    yield {
        "chat": ChatCompletions(endpoint, http, name="llamacpp", quirks=Quirks()),
        "responses": Responses(endpoint, http, name="llamacpp"),
        "messages": Anthropic(root, http, name="llamacpp"),
        "http": http,
        "endpoint": endpoint,
    }
    await http.aclose()


def ask(text="Say hello.", *, max_tokens=300, **more):
    more.setdefault("temperature", 0.0)
    messages = more.pop("messages", (Message("system", "Be brief."), Message("user", text)))
    return ChatRequest("llamacpp:smollm2-135m", messages, max_tokens=max_tokens, timeout=100, **more)


@pytest.mark.parametrize("api", APIS)
async def test_a_plain_answer(providers, api):
    response = await providers[api].chat(ask())
    assert response.text.strip()
    assert response.finish == "stop"
    assert response.usage.input_tokens > 5
    assert response.usage.output_tokens > 1
    assert not response.estimated
    assert response.model


@pytest.mark.parametrize("api", APIS)
async def test_a_streamed_answer(providers, api):
    """G11."""
    pieces = []
    response = await providers[api].chat(ask(), on_text=pieces.append)
    assert "".join(pieces) == response.text
    assert len(pieces) > 2
    assert response.usage.input_tokens > 5
    assert response.usage.output_tokens > 1
    assert not response.estimated


@pytest.mark.parametrize("api", APIS)
async def test_whole_and_streamed_agree_at_temperature_zero(providers, api):
    """R2.7: and so do the APIs, since the same model answers the same prompt."""
    whole = await providers[api].chat(ask("The capital of France is"))
    streamed = await providers[api].chat(ask("The capital of France is"), on_text=lambda piece: None)
    chat = await providers["chat"].chat(ask("The capital of France is"))
    assert whole.text.strip() == streamed.text.strip() == chat.text.strip()
    assert whole.usage.input_tokens == chat.usage.input_tokens


@pytest.mark.parametrize("api", ["chat", "messages"])
@pytest.mark.parametrize("stream", [False, True])
async def test_truncation_is_said(providers, api, stream):
    """Its Responses says `completed` where OpenAI's says `incomplete`: there it cannot be known."""
    on_text = (lambda piece: None) if stream else None
    with pytest.raises(AnswerTruncated) as caught:
        await providers[api].chat(ask("Write a long story.", max_tokens=8), on_text=on_text)
    assert caught.value.details["usage"]["output_tokens"] >= 8


@pytest.mark.parametrize("api", ["chat", "messages"])
async def test_a_schema(providers, api):
    response = await providers[api].chat(ask("numpy is for array computing. What is it?", schema=SCHEMA))
    if api == "chat":
        assert AnswerValidator(SCHEMA).violations(parse_json(response.text)) == []


@pytest.mark.parametrize("api", APIS)
async def test_stop_sequences(providers, api):
    response = await providers[api].chat(ask("Count: one, two, three, four", stop=("e",)))
    assert "e" not in response.text


@pytest.mark.parametrize("api", APIS)
async def test_a_conversation(providers, api):
    turns = (
        Message("user", "My name is Ada."),
        Message("assistant", "Hello Ada."),
        Message("user", "My name?"),
    )
    assert (await providers[api].chat(ask(messages=turns))).text


@pytest.mark.parametrize("api", APIS)
async def test_a_wrong_key(providers, api):
    endpoint, http = providers["endpoint"], providers["http"]
    wrong = ProviderEndpoint(endpoint.base_url, "sk-wrong-0123456789")
    made = {
        "chat": lambda: ChatCompletions(wrong, http, name="llamacpp"),
        "responses": lambda: Responses(wrong, http, name="llamacpp"),
        "messages": lambda: Anthropic(wrong, http, name="llamacpp"),
    }[api]()
    with pytest.raises(ModelKeyError) as caught:
        await made.chat(ask())
    assert "sk-wrong" not in str(caught.value)


@pytest.mark.parametrize("api", APIS)
async def test_a_prompt_that_is_too_long(providers, api):
    with pytest.raises((ModelRefused, AnswerTruncated)):
        await providers[api].chat(ask("many words " * 4000))
