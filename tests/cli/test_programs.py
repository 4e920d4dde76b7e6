"""Programs of the rooms below, whose answers the terminal shows where no orchestrator runs."""

from __future__ import annotations

import sys

import pytest

from po_jupyter.cli import programs
from po_jupyter.errors import InvalidInput, PoError

pytestmark = pytest.mark.integration


def test_the_models_of_this_environment_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an orchestrator started here would see."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    models = {model["ref"]: model for model in programs.offline_models("mini", "openai")}
    assert models["openai:gpt-5-mini"]["usable"]
    assert all("mini" in ref for ref in models)
    assert not any(model["usable"] for model in programs.offline_models(None, "anthropic"))


def test_an_error_of_the_program_is_the_error_here() -> None:
    """P11: with its class and its suggestion."""
    with pytest.raises(InvalidInput, match="did you mean `gemini`"):
        programs.offline_models(None, "google")


def test_a_program_that_cannot_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(PoError, match="the providers could not be listed: exit code 1") as caught:
        programs.offline_providers()
    assert "po doctor" in caught.value.hint


def test_a_file_of_the_user_is_not_imported_in_the_place_of_a_module(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    with open("json.py", "w") as file:
        file.write("raise SystemExit('not the standard library')")
    assert "openai" in programs.offline_providers()
