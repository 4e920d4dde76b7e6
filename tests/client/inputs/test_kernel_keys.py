"""G16: a key that only this process has is noticed, and its value goes nowhere."""

from __future__ import annotations

import sys
import types

import httpx
import pytest

from po_jupyter.client.http.responses import read_response
from po_jupyter.client.inputs.kernel_keys import key_hints, with_key_hints
from po_jupyter.errors import InvalidEnvironment, ModelKeyError, NotFound, Violation

SECRET = "sk-only-in-this-kernel-0123456789"
MISSING = {"missing": [{"provider": "openai", "variable": "OPENAI_API_KEY"}]}


def test_the_hint_names_the_variable_and_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    error = InvalidEnvironment(violations=[Violation("llm.model", "no key")], hint="skip it", details=MISSING)
    said = with_key_hints(error, {"OPENAI_API_KEY": SECRET})
    assert said.hint.splitlines() == [
        "OPENAI_API_KEY is set in this process only, the orchestrator does not see it: po keys set openai",
        "skip it",
    ]
    assert SECRET not in str(said)
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    (line,) = key_hints(MISSING, {"OPENAI_API_KEY": SECRET})
    assert (
        line
        == "OPENAI_API_KEY is set in this kernel only, the orchestrator does not see it: %po keys set openai"
    )


def test_what_is_not_set_here_is_not_spoken_of() -> None:
    assert key_hints(MISSING, {}) == []
    assert key_hints(MISSING, {"OPENAI_API_KEY": " "}) == []
    assert with_key_hints(NotFound("no run", hint="look"), {"OPENAI_API_KEY": SECRET}).hint == "look"


def test_a_call_that_failed_without_its_key_is_noticed_too() -> None:
    error = ModelKeyError("no key", details={"provider": "openai", "variable": "OPENAI_API_KEY"})
    assert "po keys set openai" in with_key_hints(error, {"OPENAI_API_KEY": SECRET}).hint


@pytest.mark.parametrize(
    "details", [{"missing": 3}, {"missing": [3, {}]}, {"variable": 3}, {"missing": [{"variable": None}]}]
)
def test_details_of_any_shape(details: dict[str, object]) -> None:
    assert key_hints(details, {"OPENAI_API_KEY": SECRET}) == []


def test_the_client_notices_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    body = {"error": InvalidEnvironment("no key", details=MISSING).to_json()}
    with pytest.raises(InvalidEnvironment) as raised:
        read_response("http://x", httpx.Response(400, json=body))
    assert "only, the orchestrator does not see it" in raised.value.hint
