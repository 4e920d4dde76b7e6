"""The orchestrator of tests of prompts: whose keys, prices and vendors it has. test_runner.py starts one."""

from __future__ import annotations

from pathlib import Path

import pytest

from po_jupyter.config import Settings
from po_jupyter.errors import InvalidInput
from po_jupyter.llm.money.team_prices import TeamPrices
from po_jupyter.prompt_tests.private_orchestrator import (
    check_models,
    prices_of,
    prices_of_team,
    private_environment,
    user_environment,
    vendors,
)
from tests.support.fake_gateway import FakeGateway, GatewayThread

USER = {
    "OPENAI_API_KEY": "sk-secret-of-mine", "HF_TOKEN": "hf-secret-of-mine", "AWS_SECRET_ACCESS_KEY": "aws-secret",
    "PO_STORE": "postgresql://u:p@h/db", "PO_HUB_URL": "https://hub", "JUPYTERHUB_API_TOKEN": "hub-secret",
    "OTEL_TRACES_EXPORTER": "otlp", "PATH": "/bin", "OPENAI_BASE_URL": "https://proxy.example/v1", "NO_PROXY": "x",
}  # fmt: skip


def test_without_live_no_key_of_the_user_is_there_and_no_vendor_is_reached(tmp_path: Path) -> None:
    variables = private_environment("http://127.0.0.1:5", tmp_path, live=False, environ=USER)
    assert not [value for value in variables.values() if "secret" in value]
    assert variables["OPENAI_API_KEY"] == "no-key-is-needed"
    assert variables["OPENAI_BASE_URL"] == "http://127.0.0.1:5/openai"
    assert variables["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:5/anthropic"
    assert {"PO_STORE", "PO_HUB_URL", "OTEL_TRACES_EXPORTER", "AWS_SECRET_ACCESS_KEY"}.isdisjoint(variables)
    assert (variables["PO_DATA_DIR"], variables["PATH"], variables["NO_PROXY"]) == (
        str(tmp_path),
        "/bin",
        "x,127.0.0.1",
    )


def test_live_has_the_keys_and_asks_where_the_user_asks(tmp_path: Path) -> None:
    variables = private_environment("http://127.0.0.1:5", tmp_path, live=True, environ=USER)
    assert variables["OPENAI_API_KEY"] == "sk-secret-of-mine"
    assert variables["OPENAI_BASE_URL"] == "http://127.0.0.1:5/openai"
    assert "PO_STORE" not in variables
    assert vendors(USER)["openai"] == "https://proxy.example/v1"
    assert vendors({})["openai"] == "https://api.openai.com/v1"
    assert "ANTHROPIC_API_KEY" not in user_environment({"PO_DATA_DIR": str(tmp_path)})


def test_prices_are_those_of_the_vendor_although_it_is_asked_elsewhere() -> None:
    """The list does not hold at another address, so that a budget would be refused."""
    own = Settings(prices={"openai:mine": {"input": 1, "output": 2}})
    prices = prices_of(
        ["openai:gpt-4o-mini", "openai:mine", "openai:nobody-knows-it", "fake:echo"], own, TeamPrices()
    )
    assert prices["openai:gpt-4o-mini"]["input"] == pytest.approx(0.15)
    assert prices["openai:gpt-4o-mini"]["cached"] < prices["openai:gpt-4o-mini"]["input"]
    assert prices["openai:mine"] == {"input": 1, "output": 2}
    assert "openai:nobody-knows-it" not in prices


@pytest.mark.integration
def test_on_a_hub_the_prices_are_those_of_the_team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And with the gateway away those that it said last; what it has no price for has the user's own, or none."""
    gateway = FakeGateway("http://127.0.0.1:1")
    gateway.tokens = {"token-of-ada"}
    price = {"input": 300, "output": 900, "cached": 30}
    known = {"input_per_million": 0.15, "output_per_million": 0.6, "price": None}
    none = {"input_per_million": None, "output_per_million": None, "price": None}
    gateway.models = [
        {"model": "openai:house", **none, "price": price}, {"model": "openai:gpt-4o-mini", **known},
        {"model": "openai:mine", **none}, {"model": "openai:gpt-5-mini", **none},
    ]  # fmt: skip
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "token-of-ada")
    thread = GatewayThread(gateway)
    thread.start()
    monkeypatch.setenv("PO_HUB_URL", gateway.url)
    own = {"openai:mine": {"input": 1, "output": 2}, "openai:house": {"input": 1, "output": 2}}
    settings = Settings(data_dir=tmp_path, hub_url=gateway.url, prices=own)
    models = [model["model"] for model in gateway.models]
    try:
        first = prices_of(models, settings, prices_of_team(settings))
    finally:
        thread.stop()
    assert first["openai:house"] == price and first["openai:mine"] == {"input": 1, "output": 2}
    assert first["openai:gpt-4o-mini"]["input"] == pytest.approx(0.15) and "openai:gpt-5-mini" not in first
    assert prices_of(models, settings, prices_of_team(settings)) == first


def test_a_model_whose_answers_cannot_be_recorded_is_refused() -> None:
    check_models(["openai:gpt-5-mini", "fake:echo", "local:smollm2-135m", "ollama:x"])
    with pytest.raises(InvalidInput, match="claude-cli cannot be recorded"):
        check_models(["openai:gpt-5-mini", "claude-cli:sonnet"])
