"""C5: the credentials that a run's worker may ask for: of what the run names, and of nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import McpServer, Settings
from po_jupyter.errors import ModelKeyError, ModelRefused, ToolFailed
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.environment.run_credentials import RunCredentials, is_named
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.store.protocol import NewRun


@pytest.mark.parametrize(
    "text",
    ["openai:gpt", "ctx.llm.openai.gpt5_mini()", "import openai", "a\nopenai", 'x = "openai"', "(openai:a, b)"],
)
def test_a_name_is_found_as_a_word(text: str) -> None:
    assert is_named("openai", {"pipeline": {"tasks": [{"source": text}]}})
    assert is_named("openai", {"seed": {"data": {text: None}}})


@pytest.mark.parametrize(
    "text", ["together:openai/gpt-oss", "openai/gpt-5", "myopenai:x", "openai_like", "openai-x:y", "x/openai"]
)
def test_another_name_is_not_that_name(text: str) -> None:
    assert not is_named("openai", {"pipeline": {"tasks": [{"source": text}]}})


def test_a_hyphen_may_be_an_underscore() -> None:
    assert is_named("claude-cli", {"source": "ctx.llm.claude_cli.sonnet()"})
    assert not is_named("claude-cli", {"source": "claude"})


def credentials(data_dir: Path, definition: dict[str, Any], **more: Any) -> tuple[RunCredentials, str]:
    store = MemoryStore()
    run = "r" * 22
    store.create_run(NewRun(run, "", "n", "1", "s", 0, definition, []))
    settings = Settings(data_dir=data_dir, **more)
    return RunCredentials(settings, store, KeyStore(data_dir)), run


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GITHUB_TOKEN", "OTHER_TOKEN"):
        monkeypatch.setenv(name, f"key of {name}".replace(" ", "-"))


@pytest.mark.usefixtures("keys")
def test_a_run_gets_the_key_of_the_provider_that_it_names(tmp_path: Path) -> None:
    found, run = credentials(tmp_path, {"pipeline": {"llm": {"model": "openai:x"}}})
    assert found.provider_key(run, "openai") == {"OPENAI_API_KEY": "key-of-OPENAI_API_KEY"}
    with pytest.raises(ModelKeyError, match="does not name anthropic") as caught:
        found.provider_key(run, "anthropic")
    assert "key-of" not in str(caught.value.to_json())


@pytest.mark.usefixtures("keys")
def test_the_default_model_is_every_runs(tmp_path: Path) -> None:
    found, run = credentials(tmp_path, {"pipeline": {}}, default_model="anthropic:x")
    assert found.provider_key(run, "anthropic") == {"ANTHROPIC_API_KEY": "key-of-ANTHROPIC_API_KEY"}


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(("allowed", "on"), [(True, False), (False, True), (True, True)])
def test_an_agent_that_may_not_be_started_gets_no_key(tmp_path: Path, allowed: bool, on: bool) -> None:
    """Nor one that the run does not name."""
    definition = {"pipeline": {"llm": {"model": "claude-cli:x"}}, "code_allowed": allowed}
    found, run = credentials(tmp_path, definition, cli_agents=on)
    assert bool(found.provider_key(run, "claude-cli")) == (allowed and on)


@pytest.mark.usefixtures("keys")
def test_the_variables_of_an_mcp_server_are_for_runs_that_use_it(tmp_path: Path) -> None:
    servers = {
        "issues": McpServer(command=("x",), env=("GITHUB_TOKEN", "UNSET")),
        "others": McpServer(command=("x",), env=("OTHER_TOKEN",)),
    }
    definition = {"pipeline": {"tasks": [{"tools": ["issues.list"]}]}}
    found, run = credentials(tmp_path, definition, mcp_servers=servers)
    assert found.mcp_variables(run, "issues") == {"GITHUB_TOKEN": "key-of-GITHUB_TOKEN"}
    for name in ("others", "unknown"):
        with pytest.raises(ToolFailed, match=f"no tool of the MCP server {name}"):
            found.mcp_variables(run, name)


def test_a_file_as_a_local_model_is_for_runs_of_those_who_may_run_code(tmp_path: Path) -> None:
    """C1: an installed task that asks the model which its seed names would show which files there are."""
    theirs, run = credentials(tmp_path, {}, default_model="local:/models/ours.gguf")
    for model in ("smollm2-135m", "/models/ours.gguf"):
        theirs.check_local_model(run, model)
    for model in ("/etc/passwd", "~/x.gguf", "x.gguf"):
        with pytest.raises(ModelRefused, match="code:run"):
            theirs.check_local_model(run, model)
    own, run = credentials(tmp_path, {"code_allowed": True})
    own.check_local_model(run, "/mine/x.gguf")
