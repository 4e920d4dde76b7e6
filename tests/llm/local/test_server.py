"""The embedded model for real: its weights, its server, its answers (B7). Needs the extra `local`."""

import asyncio
import importlib.util
import json
import os
import signal

import httpx
import pytest

from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.local.server import LocalServer, LocalServers, _environment
from po_jupyter.llm.local.weights import fetch
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.structured.parsing import AnswerValidator
from po_jupyter.llm.vectors import unpack

pytestmark = pytest.mark.integration

HERE = importlib.util.find_spec("xllamacpp") is not None
STRICT = bool(os.environ.get("PO_TEST_STRICT"))
real = pytest.mark.skipif(not HERE and not STRICT, reason="needs the extra `local`: pip install '.[local]'")
SCHEMA = {
    "type": "object",
    "required": ["label", "reason"],
    "properties": {"label": {"enum": ["library", "tool"]}, "reason": {"type": "string"}},
}


@pytest.fixture(scope="module")
def model():
    """The weights, in the user's own cache: fetched once for every test run."""
    return fetch("smollm2-135m")


@real
async def test_schema_and_streaming_with_the_real_model_and_a_server_that_comes_back(model):
    """P3 needs a server that can die: the next call finds the new one."""
    servers = LocalServers()
    providers = Providers({}, local=servers.endpoint)
    provider = providers.get("local:smollm2-135m")
    try:
        ask = "numpy is for array computing in Python. What is it?"
        request = ChatRequest("local:smollm2-135m", (Message("user", ask),), temperature=0, schema=SCHEMA)
        response = await provider.chat(request)
        assert AnswerValidator(SCHEMA).violations(json.loads(response.text)) == []
        assert response.usage.output_tokens > 5 and response.model == "smollm2-135m"

        pieces = []
        request = ChatRequest("local:smollm2-135m", (Message("user", "Say hello."),), max_tokens=60)
        streamed = await provider.chat(request, on_text=pieces.append)
        assert "".join(pieces) == streamed.text and len(pieces) > 2
        assert streamed.usage.input_tokens > 0 and not streamed.estimated

        four = await asyncio.gather(*(provider.chat(request) for _ in range(6)))
        assert all(r.text for r in four)

        server = servers._servers["smollm2-135m"]
        first = server.pid
        os.kill(first, signal.SIGKILL)
        await server._process.wait()
        with pytest.raises(ModelUnavailable):
            await provider.chat(request)
        assert (await provider.chat(request)).text and server.pid != first
    finally:
        await providers.aclose()
        await servers.aclose()
    assert server.pid is None


@real
async def test_the_server_wants_its_key_and_ends_with_its_owner(model):
    server = LocalServer(str(model), parallel=1, context=512)
    try:
        first, again = await asyncio.gather(server.ready(), server.ready())
        assert first == again and first.key not in repr(first)
        async with httpx.AsyncClient(trust_env=False) as client:
            refused = await client.post(first.base_url + "/chat/completions", json={"messages": []})
        assert refused.status_code == 401
        process = server._process
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        await server.stop()


@real
async def test_a_prompt_beyond_the_context_is_refused_plainly(model):
    server = LocalServer(str(model), parallel=1, context=512)
    providers = Providers({}, local=lambda name: server.ready())
    try:
        with pytest.raises(ModelRefused, match="context"):
            await providers.get("local:x").chat(ChatRequest("local:x", (Message("user", "many words " * 900),)))
    finally:
        await providers.aclose()
        await server.stop()


@real
async def test_a_file_that_is_no_model_is_refused(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 100)
    server = LocalServer(str(broken))
    with pytest.raises(ModelRefused, match=r"broken\.gguf cannot be loaded"):
        await server.ready()
    await server.stop()


async def test_a_server_that_dies_at_once_is_not_started_for_ever(tmp_path, monkeypatch):
    file = tmp_path / "x.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.setattr("po_jupyter.llm.local.server.sys.executable", "/bin/false")
    server = LocalServer(str(file))
    for _ in range(5):
        with pytest.raises(ModelUnavailable, match="did not start"):
            await server.ready()
    with pytest.raises(ModelUnavailable, match="within a minute"):
        await server.ready()
    await server.stop()
    with pytest.raises(ModelUnavailable, match="being stopped"):
        await server.ready()


def test_the_child_gets_no_keys():
    """P10."""
    assert "k" not in _environment({"OPENAI_API_KEY": "k", "PATH": "p"}).values()


@real
async def test_the_real_model_makes_vectors_beside_its_answers(model):
    servers = LocalServers()
    providers = Providers({}, local=servers.endpoint)
    provider = providers.get("local:smollm2-135m")

    async def vector(text):
        request = ChatRequest("local:smollm2-135m", (Message("user", text),), embed=True)
        response = await provider.chat(request)
        assert response.usage.input_tokens > 0 and response.usage.output_tokens == 0
        return unpack(response.text)

    try:
        cat, again, long = [await vector(text) for text in ("a cat", "a cat", "word " * 600)]
        assert len(cat) == len(long) == 576 and cat == pytest.approx(again, abs=1e-4)
        said = await provider.chat(ChatRequest("local:smollm2-135m", (Message("user", "Hi"),), max_tokens=5))
        assert said.text
    finally:
        await providers.aclose()
        await servers.aclose()
