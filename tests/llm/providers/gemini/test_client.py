"""The provider for Gemini: its URLs, and who has batches."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.errors import ModelRefused
from po_jupyter.llm.batches.protocol import batch_api_of
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.gemini.client import Gemini
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.specs import ProviderEndpoint
from tests.support.batch_http import FakeHttp

HTTP: Any = FakeHttp()


def ask(model: str = "gemini:gemini-2.5-flash") -> ChatRequest:
    return ChatRequest(model, (Message("user", "hi"),))


@pytest.mark.parametrize("base", ["https://g.example", "https://g.example/", "https://g.example/v1beta"])
def test_the_url_names_the_model_and_the_method(base: str) -> None:
    provider = Gemini(ProviderEndpoint(base, "k"), HTTP)
    plain = provider.target(ask(), stream=False)
    assert str(plain.url) == "https://g.example/v1beta/models/gemini-2.5-flash:generateContent"
    assert provider.target(ask(), stream=False) is plain, "made once for each model"
    tuned = provider.target(ask(model="gemini:tunedModels/x"), stream=True)
    assert str(tuned.url) == "https://g.example/v1beta/tunedModels/x:streamGenerateContent?alt=sse"


@pytest.mark.parametrize("name", ["../files", "a/b", "m?x=1", "-x"])
def test_a_name_that_would_change_the_url_is_refused(name: str) -> None:
    """P6."""
    with pytest.raises(ModelRefused, match="not the name of a Gemini model"):
        Gemini(ProviderEndpoint("https://g.example", None), HTTP).target(
            ask(model=f"gemini:{name}"), stream=False
        )


@pytest.mark.parametrize("model", ["gemini:gemini-2.5-flash", "mistral:mistral-small-latest"])
def test_behind_the_gateway_of_a_hub_there_are_batches_too(model: str) -> None:
    """How they get on there: `tests.hub.test_batches_of_jobs`."""
    provider = model.partition(":")[0]
    hub = "http://hub/services/po"
    base = f"{hub}/{provider}" if provider == "gemini" else f"{hub}/{provider}/v1"
    environ = {f"{provider.upper()}_API_KEY": "token", f"{provider.upper()}_BASE_URL": base}
    assert batch_api_of(Providers(environ, http=HTTP).get(model)) is not None
    assert batch_api_of(Providers(environ, http=HTTP, hub_url=hub).get(model)) is not None
