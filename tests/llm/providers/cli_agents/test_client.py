"""CLI agents as providers, with stub programs that talk as the real ones do (B7)."""

import json
import os
import stat
import sys

import pytest

from po_jupyter.errors import ModelKeyError, ModelRateLimited, ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import ChatRequest, Image, Message, Tool
from po_jupyter.llm.providers.cli_agents.client import CliAgent
from po_jupyter.llm.providers.refs import runs_code
from po_jupyter.llm.providers.registry import Providers

pytestmark = pytest.mark.integration

USAGE = {"input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 3}
CLAUDE = {
    "type": "result",
    "subtype": "success",
    "is_error": False,
    "duration_ms": 2006,
    "num_turns": 1,
    "result": "One, two END three",
    "session_id": "ses-1",
    "total_cost_usd": 0.0123,
    "usage": USAGE,
}
CLAUDE_STREAM = [
    {"type": "system", "subtype": "init", "session_id": "ses-1"},
    *(
        {
            "type": "stream_event",
            "event": {"type": "content_block_delta", "delta": {"type": "text_delta", "text": t}},
        }
        for t in ("One, ", "two ", "EN", "D three")
    ),
    {"type": "assistant", "message": {"model": "claude-sonnet-4-5", "content": []}, "session_id": "ses-1"},
    CLAUDE,
]
CODEX = [
    {"type": "thread.started", "thread_id": "th-1"},
    {"type": "turn.started"},
    {"type": "item.completed", "item": {"id": "0", "type": "reasoning", "text": "Let me look."}},
    {"type": "item.completed", "item": {"id": "1", "type": "agent_message", "text": "I shall count."}},
    {"type": "item.completed", "item": {"id": "2", "type": "agent_message", "text": "One, two END three"}},
    {"type": "turn.completed", "usage": {"input_tokens": 28, "cached_input_tokens": 20, "output_tokens": 7}},
]
OPENCODE = [
    {"type": "step_start", "sessionID": "ses-1", "part": {"type": "step-start"}},
    {"type": "text", "sessionID": "ses-1", "part": {"type": "text", "text": "One, two END three"}},
    {
        "type": "step_finish",
        "sessionID": "ses-1",
        "part": {
            "type": "step-finish",
            "reason": "stop",
            "cost": 0.0123,
            "tokens": {"input": 5, "output": 4, "reasoning": 3, "cache": {"read": 20, "write": 3}},
        },
    },
]
SAID = {"claude-cli": [CLAUDE], "codex-cli": CODEX, "opencode-cli": OPENCODE}
PROGRAM = {"claude-cli": "claude", "codex-cli": "codex", "opencode-cli": "opencode"}


@pytest.fixture
def stub(tmp_path):
    """`stub(name, lines, ...)`: a program on a PATH of its own that writes down how it was called."""

    def make(name, lines, *, status=0, complaint="", before="", environ=None):
        place = tmp_path / "bin"
        place.mkdir(exist_ok=True)
        program = place / PROGRAM[name]
        text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        program.write_text(
            f"#!{sys.executable}\n"
            "import json, os, sys, time, subprocess\n"
            "asked = sys.stdin.read()\n"
            f"open({str(tmp_path / 'called.json')!r}, 'w').write(json.dumps("
            "{'argv': sys.argv[1:], 'stdin': asked, 'env': dict(os.environ), 'cwd': os.listdir('.')}))\n"
            f"{before}\n"
            f"sys.stdout.write({text!r})\nsys.stdout.flush()\nsys.stderr.write({complaint!r})\nsys.exit({status})\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return CliAgent(name, {"PATH": str(place), "HOME": str(tmp_path), **(environ or {})})

    return make


@pytest.fixture
def called(tmp_path):
    return lambda: json.loads((tmp_path / "called.json").read_text())


def ask(name, text="Count to two.", model="default", **more):
    messages = more.pop("messages", (Message("system", "Be brief."), Message("user", text)))
    return ChatRequest(f"{name}:{model}", messages, **more)


@pytest.mark.parametrize("name", SAID)
async def test_an_answer_with_its_usage(stub, called, name):
    response = await stub(name, SAID[name]).chat(ask(name))
    assert response.text == "One, two END three"
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.calls) == (28, 7, 20, 1)
    assert usage.cost == (None if name == "codex-cli" else 0.0123)
    assert response.request_id in ("ses-1", "th-1")
    assert "Count to two." in called()["stdin"]
    assert "Count" not in " ".join(called()["argv"]), "the prompt is on no command line"
    assert "Be brief." in called()["stdin"] + " ".join(called()["argv"])
    assert "--model" not in called()["argv"]
    assert called()["cwd"] == []


@pytest.mark.parametrize("name", SAID)
async def test_stop_schema_and_model_are_passed_on_as_they_can_be(stub, called, name):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    request = ask(name, model="some/model-1", stop=("END",), schema=schema)
    response = await stub(name, SAID[name]).chat(request)
    assert response.text == "One, two "
    argv = called()["argv"]
    assert argv[argv.index("--model") + 1] == "some/model-1"
    assert '"integer"' in called()["stdin"] + " ".join(argv)


@pytest.mark.parametrize("name", SAID)
async def test_a_streamed_answer(stub, name):
    """G11."""
    pieces = []
    lines = CLAUDE_STREAM if name == "claude-cli" else SAID[name]
    response = await stub(name, lines).chat(ask(name, stop=("END",)), on_text=pieces.append)
    assert "".join(pieces) == response.text == "One, two "
    assert len(pieces) == (2 if name == "claude-cli" else 1)


async def test_a_conversation_is_told_as_one(stub, called):
    turns = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Go on"))
    await stub("codex-cli", CODEX).chat(ask("codex-cli", messages=turns))
    assert called()["stdin"] == "User: Hi\n\nAssistant: Hello\n\nUser: Go on"


async def test_only_its_own_variables_reach_an_agent(stub, called):
    """P10: a key goes to its own provider only."""
    environ = {
        "ANTHROPIC_API_KEY": "sk-ant-0123456789",
        "OPENAI_API_KEY": "sk-oai-0123456789",
        "PO_AUTH_TOKEN": "secret-token",
        "DATABASE_PASSWORD": "secret",
        "LANG": "C.UTF-8",
    }
    await stub("claude-cli", [CLAUDE], environ=environ).chat(ask("claude-cli"))
    seen = called()["env"]
    assert seen["ANTHROPIC_API_KEY"] == "sk-ant-0123456789"
    assert seen["LANG"] == "C.UTF-8"
    assert not {"OPENAI_API_KEY", "PO_AUTH_TOKEN", "DATABASE_PASSWORD"} & seen.keys()


FAILED = {
    "no credit": (
        "claude-cli",
        [CLAUDE | {"is_error": True, "result": "Credit balance is too low"}],
        1,
        ModelRefused,
    ),
    "no login": (
        "claude-cli",
        [CLAUDE | {"is_error": True, "result": "Invalid API key · Please run /login"}],
        1,
        ModelKeyError,
    ),
    "overloaded": (
        "claude-cli",
        [CLAUDE | {"is_error": True, "result": "API Error: 529 Overloaded"}],
        1,
        ModelUnavailable,
    ),
    "a limit": (
        "codex-cli",
        [{"type": "turn.failed", "error": {"message": "429 Too Many Requests"}}],
        1,
        ModelRateLimited,
    ),
    "an error": ("codex-cli", [{"type": "error", "message": "unknown model"}], 1, ModelRefused),
    "another error": (
        "opencode-cli",
        [
            {
                "type": "error",
                "error": {"name": "ProviderAuthError", "data": {"message": "Unauthorized: log in"}},
            }
        ],
        0,
        ModelKeyError,
    ),
    "too many turns": ("claude-cli", [CLAUDE | {"subtype": "error_max_turns", "result": ""}], 0, ModelRefused),
    "silence": ("codex-cli", [], 0, ModelRefused),
    "noise": ("codex-cli", ["not JSON", "[1]", "\udcff"], 0, ModelRefused),
    "half an answer": ("codex-cli", CODEX[:4], 0, ModelRefused),
    "a bad end": ("codex-cli", CODEX, 3, ModelRefused),
}


@pytest.mark.parametrize("fault", FAILED)
async def test_a_failure_is_a_typed_error(stub, fault):
    name, lines, status, kind = FAILED[fault]
    lines = [line for line in lines if line != "\udcff"]
    with pytest.raises(kind) as caught:
        await stub(name, lines, status=status).chat(ask(name))
    assert type(caught.value) is kind
    assert caught.value.details["provider"] == name


async def test_a_key_in_what_it_complains_of_is_not_passed_on(stub):
    """P10."""
    key = "weird.key.without.prefix.0123456789"
    agent = stub("codex-cli", [], status=1, complaint=f"bad API key {key}", environ={"OPENAI_API_KEY": key})
    with pytest.raises(ModelKeyError) as caught:
        await agent.chat(ask("codex-cli"))
    assert key not in str(caught.value) + repr(agent)
    assert "***" in str(caught.value)


async def test_what_it_cannot_do_is_said_before_it_is_started(stub, tmp_path):
    agent = stub("claude-cli", [CLAUDE])
    for request in (
        ask("claude-cli", messages=(Message("user", "x", images=(Image.of(b"GIF89a"),)),)),
        ask("claude-cli", tools=(Tool("f"),)),
        ask("claude-cli", model="--dangerously-skip-permissions"),
        ask("claude-cli", model="x; rm -rf"),
    ):
        with pytest.raises(ModelRefused):
            await agent.chat(request)
    assert not (tmp_path / "called.json").exists()
    missing = CliAgent("opencode-cli", {"PATH": str(tmp_path)})
    with pytest.raises(ModelRefused, match="needs the program `opencode`"):
        await missing.chat(ask("opencode-cli"))


def test_agents_are_off_unless_allowed_and_known_to_run_code():
    assert runs_code("claude-cli:sonnet")
    assert not runs_code("anthropic:claude-sonnet-4-5")
    with pytest.raises(ModelRefused, match="PO_CLI_AGENTS"):
        Providers({"PATH": os.environ["PATH"]}).get("claude-cli:sonnet")
    allowed = Providers({"PATH": os.environ["PATH"]}, cli_agents=True)
    assert allowed.get("claude-cli:sonnet").name == "claude-cli"
