"""`po keys` and `po doctor`: asked for unseen, never an argument, never repeated (G16, P10)."""

from __future__ import annotations

import getpass
import io
import json
import sys
from typing import Any

import pytest

from po_jupyter.errors import NotFound

pytestmark = pytest.mark.integration

KEY = "sk-Zq7TtTb3vRkW9xYp2LmN8cJh5sDf"


STATE = {
    "provider": "openai", "variable": "OPENAI_API_KEY", "base_url": "https://api.openai.com/v1", "needed": True,
    "source": "file", "masked": "sk-…5sDf", "stored": True, "note": "",
}  # fmt: skip


@pytest.fixture
def kept(client: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the orchestrator was given."""
    found: dict[str, str] = {}

    def set_key(provider: str, key: str) -> dict[str, Any]:
        found[provider] = key
        return {**STATE, "provider": provider}

    def remove_key(provider: str) -> None:
        if found.pop(provider, None) is None:
            raise NotFound(f"no key of {provider} is stored")

    client.set_key, client.remove_key = set_key, remove_key
    client.keys = lambda: [
        STATE,
        {**STATE, "provider": "gemini", "source": None, "masked": "", "note": "a note"},
    ]
    return found


def test_a_key_is_asked_for_and_never_shown(
    po: Any, kept: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(getpass, "getpass", lambda words: asked.append(words) or f" {KEY}\n")
    code, out, err = po("keys", "set", "openai")
    assert (code, kept) == (0, {"openai": KEY})
    assert asked == ["key of openai (not shown): "]
    assert "sk-…5sDf is kept in a file" in out
    assert KEY not in out + err
    code, out, _ = po("keys", "set", "openai", "--json")
    assert json.loads(out) == STATE


def test_scripts_give_it_by_stdin(po: Any, kept: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{KEY}\n"))
    assert po("keys", "set", "openai", "--stdin")[0] == 0
    assert kept == {"openai": KEY}
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    code, _, err = po("keys", "set", "openai", "--stdin")
    assert code == 2
    assert "nothing came from stdin" in err


@pytest.mark.parametrize(
    "words",
    [("openai", KEY), (KEY,), (KEY, "openai"), ("openai", "--stdin", KEY), ("openai", "--key", KEY), (f"--key={KEY}",),
     ("openai", f"OPENAI_API_KEY={KEY}"), (f"openai={KEY}",), ("--", f"-{KEY}")],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["set", "remove"])
def test_a_key_as_an_argument_is_refused_and_not_repeated(
    po: Any, kept: dict[str, str], verb: str, words: tuple[str, ...]
) -> None:
    """P10: the history has it already; our words do not have it a second time, and nothing is sent."""
    code, out, err = po("keys", verb, *words)
    assert code == 2
    assert kept == {}
    assert KEY not in out + err
    if not {"--key", "--stdin"} & set(" ".join(words).replace("=", " ").split()) or (
        verb == "set" and "--stdin" in words
    ):
        assert "argument" in err
        assert "replace it with a new one" in err


def test_what_is_no_provider_is_suggested(po: Any, kept: dict[str, str]) -> None:
    code, _, err = po("keys", "set", "opnai")
    assert code == 2
    assert "did you mean `openai`" in err
    assert po("keys", "set")[0] == 2


def test_where_nobody_can_be_asked(po: Any, kept: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """P11: no terminal, an empty line, Ctrl-C; a prompt that would show the key is none."""

    def fail(error: BaseException) -> Any:
        def asked(_: str) -> str:
            raise error

        return asked

    monkeypatch.setattr(getpass, "getpass", fail(getpass.GetPassWarning("would echo")))
    code, _, err = po("keys", "set", "openai")
    assert code == 2
    assert "--stdin" in err
    monkeypatch.setattr(getpass, "getpass", lambda _: "  ")
    assert "nothing was changed" in po("keys", "set", "openai")[2]
    monkeypatch.setattr(getpass, "getpass", fail(KeyboardInterrupt()))
    assert po("keys", "set", "openai")[0] == 130
    assert kept == {}


def test_the_list_and_the_removal(po: Any, client: Any, kept: dict[str, str]) -> None:
    code, out, _ = po("keys")
    assert code == 0
    assert "sk-…5sDf" in out
    assert "gemini: a note" in out
    assert client.started == [False], "a list starts nothing"
    assert json.loads(po("keys", "list", "--json")[1])[0] == STATE
    kept["openai"] = KEY
    assert "removed" in po("keys", "remove", "openai")[1]
    code, _, err = po("keys", "remove", "openai")
    assert code == 1
    assert "no key of openai is stored" in err


def test_a_provider_of_the_orchestrators_own_is_known(
    po: Any, client: Any, kept: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin may be installed there and not here."""
    client.keys = lambda: [{**STATE, "provider": "house"}]
    monkeypatch.setattr(getpass, "getpass", lambda _: KEY)
    assert po("keys", "set", "house")[0] == 0
    assert kept == {"house": KEY}
    assert po("keys", "set", "hose")[0] == 2
    assert kept == {"house": KEY}


def test_a_mistyped_provider_starts_nothing(po: Any, client: Any, kept: dict[str, str]) -> None:
    """P11."""
    client.running = False
    code, _, err = po("keys", "set", "opnai")
    assert code == 2
    assert "did you mean `openai`" in err
    assert client.started == [False]
