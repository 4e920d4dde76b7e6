"""Every provider through the same cases, requests and exchanges judged by the vendors' own SDKs (B7)."""

import asyncio
from types import MappingProxyType
from urllib.parse import unquote

import pytest

from po_jupyter.errors import ModelError
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.compatible.family import OPENAI_TIERS
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.specs import load_factory, specs
from po_jupyter.llm.wire.http import Http
from po_jupyter.testing.conformance.provider import KEY, ProviderConformance, load, reply_of
from po_jupyter.testing.conformance.provider.case_base import CLOCK, WEATHER
from po_jupyter.testing.model_server import ModelServer
from tests.support import sdk_types as sdk

pytestmark = pytest.mark.integration


def opened(name, server, http, root=False):
    spec = specs()[name]
    environ = {spec.key_env: KEY, spec.base_env: server.root_url if root else server.base_url}
    return load_factory(spec)(ProviderContext(spec, environ, http))


class TestOpenAIChat(ProviderConformance):
    exchanges = "chat"
    tiers = OPENAI_TIERS
    model = "openai:gpt-4o"
    thinker = fixed = "openai:o4-mini"
    hearer = "openai:gpt-audio"
    says_logprobs = "openai:gpt-4.1-mini"

    def make(self, server, http):
        return opened("openai", server, http)

    def accept(self, request):
        assert request.path == "/v1/chat/completions"
        sdk.chat_request(request.body)


class TestOpenAIResponses(ProviderConformance):
    """R2.7."""

    exchanges = "responses"
    tiers = OPENAI_TIERS
    model = thinker = fixed = "openai:gpt-5-mini"
    lacks = frozenset({"seed"})

    def make(self, server, http):
        return opened("openai", server, http)

    def ask(self, text="Hello", **more):
        more.setdefault("api", "responses" if "seed" in more else None)
        return super().ask(text, **more)

    def accept(self, request):
        assert request.path == "/v1/responses"
        sdk.responses_request(request.body)


class TestAnthropic(ProviderConformance):
    exchanges = "messages"
    tiers = MappingProxyType({"standard": "standard_only", "priority": "auto"})
    model = "anthropic:claude-sonnet-4-5"
    thinker = "anthropic:claude-opus-4-6"
    fixed = "anthropic:claude-opus-4-8"
    lacks = frozenset({"seed"})

    def make(self, server, http):
        return opened("anthropic", server, http, root=True)

    def accept(self, request):
        assert request.path == "/v1/messages"
        assert request.headers["anthropic-version"] == "2023-06-01"
        sdk.messages_request(request.body)


class TestAnthropicBefore46(TestAnthropic):
    thinker = "anthropic:claude-sonnet-4-5"


class TestAnthropicFrom5(TestAnthropic):
    model = thinker = fixed = "anthropic:claude-opus-5"


class TestGemini(ProviderConformance):
    exchanges = "gemini"
    tiers = MappingProxyType({"flex": "flex", "standard": "standard", "priority": "priority"})
    model = thinker = hearer = "gemini:gemini-2.5-flash"
    says_logprobs = "gemini:gemini-2.0-flash"

    def make(self, server, http):
        return opened("gemini", server, http, root=True)

    def accept(self, request):
        assert request.path.startswith("/v1beta/models/gemini-")
        sdk.gemini_request(request.body)


class TestGemini3(TestGemini):
    model = thinker = hearer = "gemini:gemini-3.1-pro-preview"


class TestVertex(TestGemini):
    """A key of Vertex's express mode."""

    tiers = MappingProxyType({})
    model = thinker = hearer = says_logprobs = "vertex:gemini-2.5-flash"

    def make(self, server, http):
        return opened("vertex", server, http, root=True)

    def accept(self, request):
        assert request.path.startswith("/v1beta1/publishers/google/models/gemini-")
        sdk.gemini_request(request.body)


class TestVertex3(TestVertex):
    model = thinker = "vertex:gemini-3.1-pro-preview"


class TestBedrock(ProviderConformance):
    """A key of Bedrock's own; requests are judged by botocore's model of the service."""

    exchanges = "bedrock"
    tiers = MappingProxyType({tier: {"type": name} for tier, name in OPENAI_TIERS.items()})
    model = "bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    thinker = "bedrock:us.anthropic.claude-opus-4-6-v1"
    fixed = "bedrock:global.anthropic.claude-opus-4-8"
    lacks = frozenset({"seed"})

    def make(self, server, http):
        return opened("bedrock", server, http, root=True)

    def accept(self, request):
        _, _, model, method = request.path.split("/")
        sdk.converse_request(request.body, unquote(model), stream=method == "converse-stream")


class TestBedrockBefore46(TestBedrock):
    thinker = "bedrock:us.anthropic.claude-sonnet-4-20250514-v1:0"


class TestBedrockGptOss(TestBedrock):
    model = thinker = "bedrock:openai.gpt-oss-120b-1:0"
    lacks = frozenset({"seed", "forced tools", "files"})


class TestBedrockLlama(TestBedrock):
    model = "bedrock:us.meta.llama3-3-70b-instruct-v1:0"
    thinker = fixed = None
    lacks = frozenset({"seed", "forced tools", "files"})


class Family(ProviderConformance):
    extra = frozenset()

    def make(self, server, http):
        return opened(self.exchanges, server, http)

    def accept(self, request):
        assert request.path == "/v1/chat/completions"
        sdk.chat_request(request.body, self.extra | {"reasoning_content"})


class TestDeepSeek(Family):
    exchanges = "deepseek"
    model = says_logprobs = "deepseek:deepseek-chat"
    thinker = "deepseek:deepseek-v3.2"
    extra = frozenset({"thinking"})
    lacks = frozenset({"seed"})


class TestMoonshot(Family):
    exchanges = "moonshot"
    model = thinker = fixed = "moonshot:kimi-k2.5"
    extra = frozenset({"thinking"})
    lacks = frozenset({"seed"})


class TestZai(Family):
    exchanges = "zai"
    model = thinker = "zai:glm-4.6"
    extra = frozenset({"thinking"})
    lacks = frozenset({"seed", "forced tools"})


class TestZhipu(TestZai):
    model = thinker = "zhipu:glm-4.6"

    def make(self, server, http):
        return opened("zhipu", server, http)


class TestAlibaba(Family):
    exchanges = "alibaba"
    model = thinker = "alibaba:qwen-plus"
    extra = frozenset({"enable_thinking"})
    lacks = frozenset({"forced tools"})


class TestOpenRouter(Family):
    exchanges = "openrouter"
    model = thinker = "openrouter:openai/gpt-5-mini"
    hearer = "openrouter:google/gemini-2.5-flash"
    extra = frozenset({"reasoning", "usage"})

    async def test_it_says_what_a_call_cost(self, server, provider):
        response, _, _ = await self.play(server, provider, "plain")
        assert response.usage.cost == 0.00014


class Cloud(Family):
    """Further rows of the family: the exchanges of Chat Completions, each at its own name."""

    exchanges = "chat"

    def make(self, server, http):
        return opened(self.model.partition(":")[0], server, http)


class TestGroq(Cloud):
    model = "groq:llama-3.3-70b-versatile"
    thinker = "groq:openai/gpt-oss-120b"


class TestMistral(Cloud):
    model = "mistral:mistral-small-latest"
    hearer = "mistral:voxtral-small-latest"
    lacks = frozenset({"seed"})

    def accept(self, request):
        """Its sound is the base64 alone ("Chat with Audio", docs.mistral.ai)."""
        for message in request.body["messages"]:
            for part in message["content"] if isinstance(message["content"], list) else ():
                if part["type"] == "input_audio":
                    part["input_audio"] = {"data": part["input_audio"] + "", "format": "wav"}
        super().accept(request)


class TestXai(Cloud):
    exchanges = "xai"
    model = "xai:grok-4.20"
    thinker = "xai:grok-3-mini"


class TestTogether(Cloud):
    model = thinker = "together:openai/gpt-oss-120b"


class TestFireworks(Cloud):
    model = thinker = says_logprobs = "fireworks:accounts/fireworks/models/gpt-oss-120b"


class TestCerebras(Cloud):
    model = thinker = "cerebras:gpt-oss-120b"


class TestHuggingFace(Cloud):
    model = thinker = "huggingface:openai/gpt-oss-120b:groq"


class TestPerplexity(Cloud):
    exchanges = "perplexity"
    model = "perplexity:sonar"
    lacks = frozenset({"seed"})


class TestAzure(Cloud):
    exchanges = "azure"
    model = "azure:gpt-4o"
    thinker = fixed = "azure:o4-mini"


class TestAzureResponses(TestOpenAIResponses):
    tiers = MappingProxyType({})
    model = thinker = fixed = "azure:gpt-5-mini"

    def make(self, server, http):
        return opened("azure", server, http)


class TestOllama(Family):
    exchanges = "ollama"
    model = thinker = "ollama:qwen3:4b"


class TestVllm(Family):
    exchanges = "vllm"
    model = says_logprobs = "vllm:Qwen/Qwen3-4B"


class TestLmStudio(Family):
    exchanges = "lmstudio"
    model = "lmstudio:qwen3-4b"


class TestLlamaCpp(Family):
    exchanges = "llamacpp"
    model = says_logprobs = "llamacpp:any"


READERS = {
    "chat": sdk.chat_text,
    "responses": sdk.responses_text,
    "messages": sdk.messages_text,
    "gemini": sdk.gemini_text,
}
MAKERS = {
    "chat": ("openai", "openai:gpt-4o", False),
    "responses": ("openai", "openai:gpt-5-mini", False),
    "messages": ("anthropic", "anthropic:claude-sonnet-4-5", True),
    "gemini": ("gemini", "gemini:gemini-2.5-flash", True),
}
ANSWERED = [
    (api, name)
    for api in READERS
    for name, exchange in load(api)["exchanges"].items()
    if exchange["status"] == 200 and not name.startswith(("cut_", "error_", "doubled_", "failed_", "bad_"))
]


@pytest.mark.parametrize(("api", "name"), ANSWERED)
async def test_the_sdk_reads_each_exchange_as_we_do(api, name):
    exchange = load(api)["exchanges"][name]
    theirs = READERS[api](exchange)
    provider_name, model, root = MAKERS[api]
    http = Http()
    with ModelServer(key=KEY) as server:
        server.enqueue(reply_of(exchange))
        provider = opened(provider_name, server, http, root=root)
        on_text = (lambda piece: None) if "events" in exchange else None
        try:
            ours = (await provider.chat(ChatRequest(model, (Message("user", "x"),)), on_text=on_text)).text
        except ModelError as error:
            ours = error.details.get("sample", "")
            assert ours == theirs[:200]
        else:
            assert ours == theirs
        finally:
            await http.aclose()


BEDROCK = [
    name
    for name, exchange in load("bedrock")["exchanges"].items()
    if exchange["status"] == 200
    and not name.startswith(("cut_", "error_", "failed_", "bad_", "filtered", "noise_"))
]


@pytest.mark.parametrize("name", BEDROCK)
async def test_botocore_reads_each_exchange_as_we_do(name):
    exchange = load("bedrock")["exchanges"][name]
    theirs = sdk.converse_text(exchange, reply_of(exchange).body)
    http = Http()
    with ModelServer(key=KEY) as server:
        server.enqueue(reply_of(exchange))
        provider = opened("bedrock", server, http, root=True)
        on_text = (lambda piece: None) if "events" in exchange else None
        request = ChatRequest("bedrock:amazon.nova-lite-v1:0", (Message("user", "x"),), tools=(WEATHER, CLOCK))
        try:
            ours = (await provider.chat(request, on_text=on_text)).text
        except ModelError as error:
            ours = str(error.details.get("sample", ""))
        finally:
            await http.aclose()
    assert ours[:200] == theirs[:200]


def test_the_suite_has_its_forty_cases():
    cases = [name for name in dir(ProviderConformance) if name.startswith("test_")]
    assert len(cases) >= 40
    assert asyncio.iscoroutinefunction(ProviderConformance.test_a_plain_answer)
