"""R2.5: what is wrong around a pipeline before it runs, each with its variable, its pipeline and its task."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.llm.credentials.availability import EnvironmentProblem, model_problems, models_used
from po_jupyter.model.pipeline.parsing import validate_pipeline

ALL = {
    "OPENAI_API_KEY": "sk-of-openai-1",
    "ANTHROPIC_API_KEY": "sk-ant-123456",
    "GEMINI_API_KEY": "AIza-123456",
}


def look(
    *tasks: Any,
    llm: Any = None,
    environ: dict[str, str] | None = None,
    model: str | None = None,
    **settings: Any,
) -> list[EnvironmentProblem]:
    definition = {"name": "tickets", "tasks": list(tasks), **({"llm": llm} if llm else {})}
    return model_problems(
        validate_pipeline(definition), environ=environ or {}, settings=Settings(**settings), model=model
    )


def say(name: str = "label", llm: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "prompt": "x", **({"llm": llm} if llm else {}), **more}


def test_one_problem_for_a_provider_with_all_its_tasks() -> None:
    """R2.5: the message names the variable, the pipeline, the tasks, and what to type."""
    many = [say(f"t{i}", "openai:gpt-5-mini") for i in range(8)]
    openai, anthropic = look(*many, say("last", "anthropic:claude-haiku-4-5"))
    assert openai.message == (
        "pipeline 'tickets', tasks 't0', 't1', 't2', 't3', 't4' and 3 more: openai needs a key, and OPENAI_API_KEY "
        "is not set where the orchestrator runs: po keys set openai"
    )
    assert (openai.where, openai.variable, openai.provider) == (
        "tasks[0].llm.model",
        "OPENAI_API_KEY",
        "openai",
    )
    assert (anthropic.where, anthropic.variable) == ("tasks[8].llm.model", "ANTHROPIC_API_KEY")
    assert look(*many, environ=ALL) == []


def test_a_misspelt_model_is_found_before_the_start_at_the_vendors_own_address() -> None:
    (problem,) = look(say("a", "openai:gpt5-mini"), environ=ALL)
    assert problem.message.endswith("openai has no model `gpt5-mini`; did you mean `openai:gpt-5-mini`?")
    assert not problem.warning
    elsewhere = {**ALL, "OPENAI_BASE_URL": "https://models.example/v1"}
    assert look(say("a", "openai:gpt5-mini"), environ=elsewhere) == []
    assert look(say("a", "openai:gpt-5-mini"), say("b", "openai:my-own"), environ=ALL) == []


def test_a_key_and_an_address_in_quotes_are_what_is_inside() -> None:
    quoted = {"OPENAI_API_KEY": '"sk-of-openai-1"', "OPENAI_BASE_URL": "'https://models.example/v1'"}
    assert look(say("a", "openai:gpt-5-mini"), environ=quoted) == []
    (problem,) = look(say("a", "openai:gpt-5-mini"), environ={"OPENAI_API_KEY": '""'})
    assert problem.variable == "OPENAI_API_KEY"


def test_azure_wants_to_know_where_its_resource_is() -> None:
    problems = look(say("a", "azure:gpt-5-mini"), environ={"AZURE_OPENAI_API_KEY": "k" * 20})
    assert [p.variable for p in problems] == ["AZURE_OPENAI_ENDPOINT"]


def test_where_a_model_may_be_written() -> None:
    """R2.5: task, pipeline, run override, default_model. Python that names none is not known before it runs."""
    python = {"name": "code", "source": "def ingestion(ctx): ..."}
    given = validate_pipeline({"name": "p", "tasks": [say("a", "fake:echo"), say("b"), python]})
    assert [(u.ref, u.where, u.tasks) for u in models_used(given, "openai:x")] == [
        ("fake:echo", "tasks[0].llm.model", ("a",)),
        ("openai:x", "default_model", ("b",)),
    ]
    assert [(u.ref, u.where) for u in models_used(given, "openai:x", "gemini:y")] == [
        ("gemini:y", "options.model")
    ]
    named = validate_pipeline({"name": "p", "llm": "openai:z", "tasks": [python]})
    assert [(u.where, u.tasks) for u in models_used(named, "fake:echo")] == [("llm.model", ("code",))]
    (problem,) = look(say(), default_model="openai:gpt-5-mini")
    assert problem.where == "default_model"
    (problem,) = look(say(llm="fake:echo"), model="gemini:gemini-2.5-flash")
    assert problem.variable == "GEMINI_API_KEY"
    (problem,) = look(say(), default_model="opnai:x")
    assert "did you mean `openai`" in problem.message


CASES: dict[str, tuple[Any, dict[str, str], str, bool]] = {
    "no URL": ("openai:gpt-5-mini", {"OPENAI_BASE_URL": "api.openai.com/v1"}, "OPENAI_BASE_URL is not a URL", False),
    "spaces": ("openai:gpt-5-mini", {"OPENAI_BASE_URL": "https://a b/v1"}, "is not a URL", False),
    "a port that is none": ("openai:gpt-5-mini", {"OPENAI_BASE_URL": "https://a:99999/v1"}, "is not a URL", False),
    "another scheme": ("openai:gpt-5-mini", {"OPENAI_BASE_URL": "file:///etc/passwd"}, "is not a URL", False),
    "a password in it": (
        "openai:gpt-5-mini", {"OPENAI_BASE_URL": "https://me:hunter22@host/v1"}, "has a user or password", False
    ),
    "a query": ("openai:gpt-5-mini", {"OPENAI_BASE_URL": "https://host/v1?x=1"}, "has a ? or #", False),
    "no /v1": ("openai:gpt-5-mini", {"OPENAI_BASE_URL": "https://host"}, "mostly ends in /v1", True),
    "unencrypted": ("openai:gpt-5-mini", {"OPENAI_BASE_URL": "http://host/v1"}, "unencrypted", True),
    "anthropic with /v1": (
        "anthropic:claude-haiku-4-5", {"ANTHROPIC_BASE_URL": "https://host/v1"}, "is left out", True
    ),
    "gemini with /v1": ("gemini:gemini-2.5-flash", {"GEMINI_BASE_URL": "https://host/v1"}, "ends in /v1", False),
    "gemini with /v1beta": ("gemini:x", {"GEMINI_BASE_URL": "https://host/v1beta/"}, "is left out", True),
    "a key with a line break": ("openai:gpt-5-mini", {"OPENAI_API_KEY": "sk-a\nb"}, "is not a key", False),
    "agents switched off": ("claude-cli:sonnet", {}, "PO_CLI_AGENTS=true", False),
    "one API": ({"model": "anthropic:x", "api": "chat"}, {}, "`api: chat` is for openai", False),
}  # fmt: skip


@pytest.mark.parametrize(("llm", "environ", "said", "warning"), CASES.values(), ids=CASES.keys())
def test_what_contradicts(llm: Any, environ: dict[str, str], said: str, warning: bool) -> None:
    """R2.5, P10: conflicts are found; nothing secret is repeated."""
    (problem,) = look(say(llm=llm), environ={**ALL, **environ})
    assert said in problem.message
    assert "pipeline 'tickets'" in problem.message
    assert "label" in problem.message
    assert problem.warning is warning
    assert "hunter22" not in problem.message


@pytest.mark.parametrize(
    "url", ["https://host/v1", "http://127.0.0.1:8000/v1", "https://host/openai/v1/", "https://[::1]:8/v1"]
)
def test_sane_addresses_pass(url: str) -> None:
    assert look(say(llm="openai:gpt-5-mini"), environ={**ALL, "OPENAI_BASE_URL": url}) == []


def test_an_inherited_api_says_nothing_about_another_provider() -> None:
    """A pipeline may say `api: chat` for its own model, and one task use another provider."""
    found = look(say("a"), say("b", "anthropic:x"), llm={"model": "openai:y", "api": "chat"}, environ=ALL)
    assert found == []


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """R2.5: a CLI agent that is not installed."""
    (problem,) = look(say(llm="claude-cli:sonnet"), environ={"PATH": str(tmp_path)}, cli_agents=True)
    assert "`claude`" in problem.message
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    assert look(say(llm="claude-cli:sonnet"), environ={"PATH": str(tmp_path)}, cli_agents=True) == []


def test_a_daily_limit_needs_prices() -> None:
    """G1: otherwise each call would be refused when it is made."""
    (problem,) = look(say(llm="openai:no-such-model"), environ=ALL, daily_usd=5)
    assert "price of openai:no-such-model is unknown" in problem.message
    assert look(say(llm="openai:gpt-4o-mini"), environ=ALL, daily_usd=5) == []


def test_a_server_of_ones_own_needs_no_key() -> None:
    assert look(say(llm="ollama:qwen3:4b")) == []


def test_everything_at_once_errors_first() -> None:
    """P11: every violation, not the first one."""
    environ = {"OPENAI_BASE_URL": "https://host", "ANTHROPIC_BASE_URL": "nonsense"}
    found = look(say("a", "openai:x"), say("b", "anthropic:x"), say("c", "codex-cli:default"), environ=environ)
    assert [p.warning for p in found] == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"ALL_PROXY": "socks5://p:1"}, "ALL_PROXY is socks5://p:1"),
        ({"https_proxy": "http://p:nine"}, "https_proxy is no proxy"),
        ({"SSL_CERT_FILE": "/gone"}, "SSL_CERT_FILE is /gone"),
    ],
)
def test_the_way_to_the_model_is_looked_at_before_the_start(environ: dict[str, str], message: str) -> None:
    """Each ended as a raw exception inside the call; nothing is asked over the network for it."""
    (problem,) = look(say("a", "openai:gpt-5-mini"), environ={**ALL, **environ})
    assert message in problem.message and not problem.warning
    local = {**ALL, **environ, "OPENAI_BASE_URL": "http://127.0.0.1:1234/v1"}
    assert look(say("a", "openai:gpt-5-mini"), environ=local) == []


def test_a_budget_in_dollars_needs_a_price_at_the_address_where_the_model_is_asked() -> None:
    elsewhere = {**ALL, "OPENAI_BASE_URL": "https://models.example/v1"}
    mine = {"openai:gpt-4o": {"input": 1, "output": 1}}
    limited = say(llm="openai:gpt-4o", budget={"usd": 1})
    (problem,) = look(limited, environ=elsewhere)
    assert (
        "OPENAI_BASE_URL is not an address of openai's own" in problem.message and "`prices`" in problem.message
    )
    assert not problem.warning
    assert look(limited, environ=ALL) == look(limited, environ=elsewhere, prices=mine) == []
    assert look(say(llm="openai:gpt-4o"), environ=elsewhere) == [], "no budget, no question"
    assert look(say(llm="openai:gpt-4o"), environ=elsewhere, daily_usd=5)
    assert look(say(llm="openai:gpt-4o", budget={"tokens": 100}), environ=elsewhere) == []


def test_azure_has_no_base_url_of_its_own_and_has_prices() -> None:
    key = {"AZURE_OPENAI_API_KEY": "k" * 32, "AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com"}
    assert look(say(llm="azure:gpt-5-mini", budget={"usd": 1}), environ=key, daily_usd=5) == []


def test_each_model_of_a_cascade_needs_its_key() -> None:
    """Each with its place in the list."""
    cascade = ["openai:gpt-5-mini", {"model": "anthropic:claude-haiku-4-5", "when": "{{ output }}"}]
    openai, anthropic = look(say("a", cascade))
    assert (openai.where, openai.variable) == ("tasks[0].llm[0].model", "OPENAI_API_KEY")
    assert (anthropic.where, anthropic.variable) == ("tasks[0].llm[1].model", "ANTHROPIC_API_KEY")
    pipeline = validate_pipeline({"name": "p", "tasks": [say("a", cascade)]})
    assert [use.ref for use in models_used(pipeline, "d:m", "openai:gpt-5-mini")] == ["openai:gpt-5-mini"]


@pytest.mark.parametrize("alike", [{"temperature": 0}, {"seed": 7}])
def test_votes_that_are_told_to_be_alike_are_warned_of(alike: dict[str, Any]) -> None:
    llm = {"model": "openai:gpt-4o-mini", **alike}
    (problem,) = look(say("a", llm, votes=3), environ=ALL)
    assert problem.warning
    assert problem.where == "tasks[0].votes"
    assert next(iter(alike)) in problem.message
    assert look(say("a", llm), environ=ALL) == []
    (of_pipeline,) = look(say("a", votes=3), llm=llm, environ=ALL)
    assert of_pipeline.message == problem.message
    assert look(say("a", {"model": "openai:gpt-4o-mini"}, votes=3), environ=ALL) == []
