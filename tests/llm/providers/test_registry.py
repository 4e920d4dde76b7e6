"""The open providers of a worker."""

import asyncio

import pytest

from po_jupyter.errors import ModelKeyError, ModelRefused, Unavailable
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.providers.fake import FakeProvider
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.specs import specs
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


@pytest.mark.parametrize("own", [True, False])
async def test_a_key_of_ones_own_keeps_its_address_beside_a_gateway(own):
    """The key says which it is: where the gateway is asked, its address comes with the user's token."""
    hub, asked = "http://hub/services/po", []

    async def get_key(name):
        asked.append(name)
        if name != "openai":
            raise ModelKeyError("the run does not name it")
        return {"OPENAI_API_KEY": "k"} | ({} if own else {"OPENAI_BASE_URL": f"{hub}/openai/v1"})

    environ = {"OPENAI_BASE_URL": "http://mine/v1", "MISTRAL_BASE_URL": "http://mine/v1"}
    opened = Providers(environ, get_key=get_key, hub_url=hub)
    assert opened.base_url("openai:m") == f"{hub}/openai/v1"  # until it is known
    await opened.learn_addresses()
    assert sorted(asked) == ["mistral", "openai"]  # and no others, for which there is one address
    assert opened.base_url("openai:m") == ("http://mine/v1" if own else f"{hub}/openai/v1")
    assert opened.base_url("gemini:m") == f"{hub}/gemini"
    await opened.aclose()


def test_an_agent_is_refused_while_the_submitter_may_not_run_code():
    opened = Providers({}, opened={"fake": FakeProvider()})
    opened.allow_cli_agents(True, submitter=False)
    with pytest.raises(ModelRefused, match="lacks the scope code:run"):
        opened.get("codex-cli:default")
    opened.allow_cli_agents(False)
    with pytest.raises(ModelRefused, match="switched off"):
        opened.get("codex-cli:default")
    assert opened.get("fake:echo").name == "fake"


async def test_a_key_is_fetched_once_and_seen_by_its_provider_alone():
    """C5: rows that ask at the same time wait for one key; one that failed is asked for again."""
    asked = []

    async def get_key(name):
        asked.append(name)
        await asyncio.sleep(0)
        if len(asked) == 1:
            raise Unavailable("no orchestrator")
        return {f"{name.upper()}_API_KEY": f"key-of-{name}"}

    opened = Providers({"PATH": "/bin"}, get_key=get_key)
    waiting = [asyncio.ensure_future(opened.prepare("openai:a")) for _ in range(3)]
    for failed in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(failed, Unavailable)
    waiting = [asyncio.ensure_future(opened.prepare("openai:a")) for _ in range(3)]
    waiting[0].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert asked == ["openai", "openai"]
    assert opened.prepare("openai:b") is None, "it is there"
    assert opened.prepare("local:x") is None and opened.prepare("nobody:x") is None, "nothing to wait for"
    await opened.prepare("groq:x")
    contexts = {name: opened._context(specs()[name]) for name in ("openai", "groq", "anthropic")}
    assert dict(contexts["openai"].environ) == {"PATH": "/bin", "OPENAI_API_KEY": "key-of-openai"}
    assert dict(contexts["groq"].environ) == {"PATH": "/bin", "GROQ_API_KEY": "key-of-groq"}
    assert dict(contexts["anthropic"].environ) == {"PATH": "/bin"}
    await opened.aclose()
