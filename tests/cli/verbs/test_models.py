"""`po models`, and `po pipelines` beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.integration


def test_models_and_pipelines_are_listed(po: Any, client: Any) -> None:
    code, out, _ = po("models")
    assert code == 0
    assert "local:smollm2-135m" in out
    assert "no: ANTHROPIC_API_KEY is not set" in out
    assert {"openai", "local"} <= {m["provider"] for m in json.loads(po("models", "--json")[1])}
    assert "abcdef123456" in po("pipelines")[1]
    assert json.loads(po("pipelines", "--json")[1])[0]["name"] == "tickets"


def test_without_an_orchestrator_the_models_are_those_of_this_environment(po: Any, client: Any) -> None:
    """DESIGN Doors: reading starts nothing; stderr says whose answer it is."""
    client.running = False
    code, out, err = po("models", "gpt-5-nano", "--provider", "openai", "--json")
    assert (code, err) == (0, "")
    assert [model["ref"] for model in json.loads(out)] == ["openai:gpt-5-nano"]
    code, _, err = po("models", "gpt-5-nano")
    assert code == 0
    assert "no orchestrator is running: this is what one started here would see" in err
    assert client.started == [False, False]
