"""The environment of an orchestrator that does not run: as one started here would see it."""

from __future__ import annotations

import json

import pytest

from po_jupyter.orchestrator.environment import offline
from tests.support.fake_gateway import FakeGateway, GatewayThread

pytestmark = pytest.mark.integration


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert offline.main(list(arguments)) == 0
    return json.loads(capsys.readouterr().out)


def test_providers_that_take_a_key(capsys):
    assert {"openai", "anthropic"} <= set(answer(capsys, "providers")["providers"])


def test_models_by_name_and_an_unknown_provider_is_an_error(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PO_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("PO_HUB_URL", raising=False)
    assert answer(capsys, "models", "--word", "echo")["models"][0]["ref"] == "fake:echo"
    assert answer(capsys, "models", "--provider", "nobody")["error"]["code"] == "invalid_input"


def test_the_teams_models_where_there_is_a_hub(capsys, tmp_path, monkeypatch):
    gateway = FakeGateway("http://127.0.0.1:1")
    gateway.tokens = {"token-of-ada-0123"}
    with GatewayThread(gateway):
        monkeypatch.setenv("PO_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("PO_HUB_URL", f"{gateway.url}/")
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "token-of-ada-0123")
        models = answer(capsys, "models", "--provider", "openai")["models"]
    assert [model["ref"] for model in models if model["usable"]] == ["openai:gpt-5-mini"]
