"""The open providers of a worker."""

import pytest

from po_jupyter.errors import ModelRefused
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.fake import FakeProvider
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.testing.model_server import ModelServer


def ask(model="fake:echo", text="hi", **more):
    return ChatRequest(model, (Message("user", text),), **more)


@pytest.mark.integration
async def test_the_base_url_and_key_come_from_the_environment_given():
    with ModelServer(key="k-1") as server:
        opened = Providers({"OPENAI_BASE_URL": server.base_url + "/", "OPENAI_API_KEY": "k-1"})
        response = await opened.get("openai:m").chat(ask("openai:m"))
        assert response.text == "echo: hi"
        assert opened.get("openai:other") is opened.get("openai:m")
        await opened.aclose()


def test_the_address_of_a_model_is_part_of_the_name_of_its_calls(tmp_path):
    opened = Providers({"OPENAI_BASE_URL": "http://x/v1/"})
    assert opened.base_url("openai:m") == "http://x/v1"
    assert opened.base_url("gemini:m") == "https://generativelanguage.googleapis.com"
    assert opened.base_url("nobody:m") is None and opened.base_url("codex-cli:default") is None
    model = tmp_path / "m.gguf"
    assert opened.base_url(f"local:{model}") is None
    model.write_bytes(b"12345")
    assert opened.base_url(f"local:{model}").startswith("5-")


def test_an_agent_is_refused_while_the_submitter_may_not_run_code():
    opened = Providers({}, opened={"fake": FakeProvider()})
    opened.allow_cli_agents(True, submitter=False)
    with pytest.raises(ModelRefused, match="lacks the scope code:run"):
        opened.get("codex-cli:default")
    opened.allow_cli_agents(False)
    with pytest.raises(ModelRefused, match="switched off"):
        opened.get("codex-cli:default")
    assert opened.get("fake:echo").name == "fake"
