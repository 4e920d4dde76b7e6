"""`po.chat`, `po chat` and `po models` against a real orchestrator, real workers and a real HTTP server for a model."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from IPython.core.interactiveshell import InteractiveShell

import po_jupyter as po
from po_jupyter.client.default import default_client
from po_jupyter.errors import InvalidInput, InvalidPipeline, PoError
from po_jupyter.testing.model_server import ModelServer, Reply
from tests.support.paths import ROOT
from tests.support.start_mode import forget_environment

pytestmark = pytest.mark.acceptance

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SECRET = "sk-chat-secret-0123456789"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chat")


def calling(body: dict[str, Any], _: int) -> Reply:
    """A model that has each tool it is offered called once, then answers."""
    tools = body.get("tools") or []
    done = sum(m["role"] == "tool" for m in body["messages"])
    if done >= len(tools):
        return Reply()
    function = {"name": tools[done]["function"]["name"], "arguments": '{"a": 2, "b": 3}'}
    call = {"index": 0, "id": f"c{done}", "type": "function", "function": function}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    if not body.get("stream"):
        choice = {"index": 0, "message": said, "finish_reason": "tool_calls"}
        return Reply(body=json.dumps({"choices": [choice]}).encode(), content_type="application/json")
    chunk = {"choices": [{"index": 0, "delta": said, "finish_reason": "tool_calls"}]}
    return Reply(
        body=f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode(), content_type="text/event-stream"
    )


@pytest.fixture(scope="module")
def model(home: Path) -> Iterator[ModelServer]:
    """A model, and an orchestrator of this module's own that finds it."""
    with ModelServer(calling, key=SECRET) as server, pytest.MonkeyPatch.context() as patch:
        forget_environment(patch, "PO_", "JPY_", "JUPYTERHUB_")
        for name in [name for name in os.environ if name.endswith("_API_KEY")]:
            patch.delenv(name)
        patch.setenv("PO_DATA_DIR", str(home / "data"))
        patch.setenv("PO_DEFAULT_MODEL", "openai:gpt-4o-mini")
        patch.setenv("OPENAI_BASE_URL", server.base_url)
        patch.setenv("OPENAI_API_KEY", SECRET)
        prices = {
            "openai:gpt-4o-mini": {"input": 0.15, "output": 0.6},
            "openai:gpt-5-mini": {"input": 0.25, "output": 2},
        }
        patch.setenv("PO_PRICES", json.dumps(prices))  # the server of the tests is nobody's own
        patch.setenv("PYTHONPATH", str(ROOT))
        command = [sys.executable, str(ROOT / "tests" / "support" / "mcp_server.py")]
        patch.setenv("PO_MCP_SERVERS", json.dumps({"files": {"command": command, "tools": ["add"]}}))
        yield server
        subprocess.run([sys.executable, "-m", "po_jupyter", "stop"], check=True, capture_output=True)


def asked(model: ModelServer) -> dict[str, Any]:
    """The body of the last request."""
    return (
        json.loads(model.requests[-1].body)
        if isinstance(model.requests[-1].body, str)
        else model.requests[-1].body
    )


def terminal(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "po_jupyter", *words], input=stdin, capture_output=True, text=True, timeout=60
    )


def test_a_question_is_a_run_with_an_answer(model: ModelServer) -> None:
    """B6: text, usage, model and run; the text of a question is no template (P6)."""
    answer = po.chat(
        "What is {{ 7 * 6 }}?", system="Be {{ brief }}.", temperature=0.5, max_tokens=50, stop="END"
    )
    assert isinstance(answer, po.Answer)
    assert answer.text == str(answer) == "echo: What is {{ 7 * 6 }}?"
    assert answer.value is None
    assert answer.model == "openai:gpt-4o-mini"
    assert answer.usage.calls == 1
    assert answer.usage.cost is not None and answer.usage.cost > 0
    assert answer.run.state == "done"
    assert answer.run.view.pipeline == "chat"
    body = asked(model)
    assert [m["content"] for m in body["messages"]] == ["Be {{ brief }}.", "What is {{ 7 * 6 }}?"]
    assert (body["temperature"], body["max_tokens"], body["stop"]) == (0.5, 50, ["END"])


@dataclasses.dataclass
class Label:
    label: str
    sure: bool = True


def test_a_class_makes_an_instance_of_the_answer(model: ModelServer) -> None:
    """Issue 4, structured output."""
    model.enqueue("no JSON at all", '{"label": "bug"}')
    before = len(model.requests)
    answer = po.chat("Label this", schema=Label, fresh=True)
    assert answer.value == Label("bug", True)
    assert json.loads(answer.text) == {"label": "bug"}
    assert len(model.requests) == before + 2
    model.enqueue('{"label": "bug"}')
    schema = {"type": "object", "required": ["label"], "properties": {"label": {"type": "string"}}}
    assert po.chat("Label that", schema=schema).value == {"label": "bug"}


def test_a_conversation_and_images_go_along(model: ModelServer, home: Path) -> None:
    """G11: a path, bytes, a data URL."""
    (home / "a.png").write_bytes(PNG)
    turns = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two {{ x }}"},
        {"role": "user", "content": "three"},
    ]
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    po.chat(turns, images=[home / "a.png", str(home / "a.png"), PNG, url])
    messages = asked(model)["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"] == "two {{ x }}"
    parts = messages[2]["content"]
    assert [p["type"] for p in parts] == ["text", *["image_url"] * 4]
    assert {p["image_url"]["url"] for p in parts[1:]} == {url}


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        ({"prompt": 5}, InvalidInput, "a prompt is text or a list of messages, not int"),
        ({"prompt": []}, InvalidPipeline, "prompt: needs at least 1"),
        ({"prompt": [{"role": "robot", "content": "x"}]}, InvalidPipeline, "role"),
        ({"prompt": "x", "temperature": 9}, InvalidPipeline, "llm.temperature"),
        ({"prompt": "x", "model": "gpt-5"}, InvalidPipeline, "provider:model"),
        ({"prompt": "x", "model": "opnai:gpt-5"}, InvalidPipeline, "did you mean `openai`?"),
        ({"prompt": "x", "schema": 5}, InvalidInput, "neither a JSON Schema nor a class"),
        ({"prompt": "x", "images": ["nothing.png"]}, InvalidInput, "image 0: nothing.png cannot be read"),
        ({"prompt": "x", "images": "a.png"}, InvalidInput, "`images` is a list"),
        ({"prompt": "x", "tools": [len]}, InvalidInput, "po.chat takes tools by name"),
        ({"prompt": "x", "tools": ["files.read"]}, InvalidPipeline, "mcp_servers"),
        (
            {"prompt": "x", "model": "deepseek:deepseek-chat", "images": [PNG]},
            InvalidPipeline,
            "takes no images",
        ),
    ],
)
def test_a_wrong_question_starts_nothing(
    model: ModelServer, words: dict[str, Any], error: type[Exception], text: str
) -> None:
    """P11."""
    runs = len(po.connect().runs(limit=200))
    with pytest.raises(error) as caught:
        po.chat(**words)
    assert text in str(caught.value)
    assert len(po.connect().runs(limit=200)) == runs


def test_what_the_model_refuses_is_raised_without_the_key(model: ModelServer) -> None:
    """P10."""
    model.enqueue(
        Reply(status=400, body=json.dumps({"error": {"message": f"bad request of {SECRET}"}}).encode())
    )
    with pytest.raises(PoError) as caught:
        po.chat("refuse me", fresh=True)
    assert caught.value.code == "model_refused"
    assert SECRET not in repr(caught.value) + str(caught.value) + json.dumps(caught.value.to_json())


def test_tools_of_functions_and_mcp_servers_in_a_real_worker(model: ModelServer) -> None:
    """G15, B6: by name in `po.chat`, beside a function in a task; the server's process ends with the worker."""
    answer = po.chat("add", tools=["files.add"])
    assert answer.text == "echo: 5"
    assert answer.usage.calls == 2
    assert [m["content"] for m in asked(model)["messages"] if m["role"] == "tool"] == ["5"]
    source = """
def times(a: int, b: int) -> int:
    return a * b
def ingestion(ctx):
    chain = ctx.llm.chain(system="s")
    answer = chain.ask("both", tools=[times, "files.add"])
    pieces = list(ctx.llm.stream("more", model="openai:gpt-4o-mini"))
    return [answer.text, [m["content"] for m in chain.messages if m["role"] == "tool"], "".join(pieces)]
"""
    pipeline = po.Pipeline(name="tools", tasks=[po.Task(name="t", source=source)])
    run = po.connect().submit(pipeline).wait(60).raise_for_error()
    assert run.outputs["t"] == ["echo: 5", ["6", "5"], "echo: more"]
    left = [p for p in psutil.process_iter() if "mcp_server.py" in " ".join(_words_of(p))]
    assert psutil.wait_procs(left, timeout=20)[1] == []  # the run is done before its worker has put things away
    with pytest.raises(InvalidPipeline, match="allows no tool 'die'"):
        po.chat("x", tools=["files.die"])


def _words_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_timeout_leaves_the_run_to_its_end(model: ModelServer) -> None:
    """P12: what was asked is paid for; ending the wait ends nothing else."""
    model.hold()
    try:
        with pytest.raises(TimeoutError):
            po.chat("slow one", timeout=0.5)
    finally:
        model.release()
    run = po.connect().runs(pipeline="chat", limit=1)[0]
    assert run.wait(30).outputs["chat"] == "echo: slow one"


def test_the_terminal_asks_the_same(model: ModelServer, home: Path) -> None:
    """R1.4: `po chat`, with stdin, a schema's file and JSON."""
    said = terminal("chat", "-", "--system", "short", stdin="from stdin")
    assert (said.returncode, said.stdout.strip()) == (0, "echo: from stdin"), said.stderr
    assert "openai:gpt-4o-mini" in said.stderr and "$" in said.stderr
    (home / "schema.json").write_text(json.dumps({"type": "object", "required": ["a"]}))
    model.enqueue('{"a": 1}')
    told = json.loads(terminal("chat", "x", "--schema", f"@{home / 'schema.json'}", "--json", "--fresh").stdout)
    assert told["value"] == {"a": 1}
    assert told["usage"]["calls"] == 1
    empty = terminal("chat", " ")
    assert (empty.returncode, "the prompt is empty" in empty.stderr) == (2, True)


def test_the_terminal_says_what_an_answer_waits_for(model: ModelServer) -> None:
    """G3: a minute without a word looks like a fault; with --json there is none."""
    for more in ((), ("--json",)):
        model.enqueue(Reply(status=429, headers={"retry-after": "2"}))
        said = terminal("chat", "are you busy?", "--fresh", *more)
        assert said.returncode == 0, said.stderr
        assert ("waiting" in said.stderr and "openai" in said.stderr.split("waiting")[1]) is not bool(more)
        assert "waiting" not in said.stdout


def test_the_hint_of_a_chat_that_cannot_start_is_true_of_it(model: ModelServer) -> None:
    """P11: it says --skip-validation, so `po chat` and `po.chat` know it."""
    refused = terminal("chat", "x", "--model", "mistyped-provider:x")
    assert refused.returncode == 2
    refused = terminal("chat", "x", "--model", "anthropic:claude-haiku-4-5")
    assert refused.returncode == 2 and "--skip-validation" in refused.stderr
    tried = terminal("chat", "x", "--model", "anthropic:claude-haiku-4-5", "--skip-validation")
    assert tried.returncode == 1 and "anthropic needs a key" in tried.stderr


def test_the_notebooks_line_asks_the_same(model: ModelServer, capsys: pytest.CaptureFixture[str]) -> None:
    """C3: `%po chat` and `%po models`."""
    shell = InteractiveShell()
    po.load_ipython_extension(shell)
    try:
        shell.run_line_magic("po", 'chat "hello from a cell"')
        assert "echo: hello from a cell" in capsys.readouterr().out
        shell.run_line_magic("po", "models gpt-4o-mini")
        assert "openai:gpt-4o-mini" in capsys.readouterr().out
    finally:
        po.unload_ipython_extension(shell)


def test_models_say_what_can_be_used_now_and_why_not_the_rest(model: ModelServer) -> None:
    """B6, G16: in the orchestrator's environment, with prices; never a key."""
    client = po.connect()
    found = {one["ref"]: one for one in client.models()}
    mini = found["openai:gpt-5-mini"]
    assert mini["usable"] and mini["alias"] == "gpt5_mini"
    assert mini["price"] == {"input": 0.25, "output": 2.0}
    assert found["anthropic:claude-haiku-4-5"]["why"] == "ANTHROPIC_API_KEY is not set"
    order = [one["usable"] for one in client.models()]
    assert order == sorted(order, reverse=True)
    assert {one["provider"] for one in client.models(provider="gemini")} == {"gemini"}
    assert [one["ref"] for one in client.models("gpt-5-nano", provider="openai")] == ["openai:gpt-5-nano"]
    with pytest.raises(InvalidInput, match="did you mean `gemini`"):
        client.models(provider="google")
    table = terminal("models", "haiku", "--provider", "anthropic")
    assert table.returncode == 0
    assert "ctx.llm.anthropic.claude_haiku4_5" in table.stdout
    assert "no: ANTHROPIC_API_KEY is not set" in table.stdout
    assert SECRET not in json.dumps(client.models())
    usable = json.loads(terminal("models", "--usable", "--json").stdout)
    assert usable and all(one["usable"] for one in usable)


def test_one_client_serves_all_questions_of_a_place(model: ModelServer) -> None:
    """It is found again after the environment changed and changed back."""
    first = default_client()
    assert default_client() is first
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PO_JUPYTER_URL", first.url)
        patch.setenv("PO_JUPYTER_TOKEN", first.aio.endpoint.token)
        other = default_client()
        assert other is not first
        other.close()
    assert default_client() is first
