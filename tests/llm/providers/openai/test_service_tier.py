"""A service tier through both of OpenAI's APIs, whole and streamed, with the tier that the answer names."""

import pytest

from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.context import ProviderContext
from po_jupyter.llm.providers.openai.client import make, make_azure
from po_jupyter.llm.specs import specs
from po_jupyter.llm.wire.http import Http
from po_jupyter.testing.model_server import ModelServer

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("on_text", [None, print])
async def test_what_is_asked_for_is_sent_and_what_served_it_is_read(api, on_text):
    with ModelServer() as server:
        http = Http()
        environ = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": server.base_url}
        provider = make(ProviderContext(specs()["openai"], environ, http))
        for tier, sent, read in (
            (None, None, ""),
            ("flex", "flex", "flex"),
            ("standard", "default", "standard"),
            ("priority", "priority", "priority"),
        ):
            request = ChatRequest("openai:gpt-5-mini", (Message("user", "hi"),), api=api, service_tier=tier)
            answer = await provider.chat(request, on_text=on_text)
            assert (server.requests[-1].body.get("service_tier"), answer.service_tier) == (sent, read)
        await http.aclose()


async def test_azure_is_sent_none():
    """It takes the standard tier alone, which is what it serves."""
    with ModelServer() as server:
        http = Http()
        environ = {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": server.base_url}
        provider = make_azure(ProviderContext(specs()["azure"], environ, http))
        request = ChatRequest("azure:mine", (Message("user", "hi"),), api="chat", service_tier="standard")
        await provider.chat(request)
        assert "service_tier" not in server.requests[-1].body
        await http.aclose()
