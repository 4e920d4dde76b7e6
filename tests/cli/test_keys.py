"""`po keys` and `po doctor`: asked for unseen, never an argument, never repeated (G16, P10)."""

from __future__ import annotations

import getpass
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.cli import doctor
from po_jupyter.errors import Forbidden, NotFound

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


# -- the doctor ---------------------------------------------------------------------------------


def finding(what: str, verdict: str, found: str = "x") -> dict[str, str]:
    return {"what": what, "verdict": verdict, "found": found, "todo": ""}


def test_the_doctor_asks_the_orchestrator_that_is_there(po: Any, client: Any) -> None:
    """Its environment is what runs get. Exit code 1 when something a run needs is broken."""
    asked = []

    def said(*, online: bool) -> list[dict[str, str]]:
        asked.append(online)
        return [
            finding("store", "ok"),
            finding("openai", "bad" if online else "note", "it refuses the key (401)"),
        ]

    client.doctor = said
    code, out, _ = po("doctor")
    assert code == 0
    code, out, _ = po("doctor", "--online")
    assert code == 1
    assert "it refuses the key (401)" in out
    assert asked == [False, True]
    assert client.started == [False] * len(client.started)
    findings = json.loads(po("doctor", "--json")[1])
    assert {"what", "verdict", "found", "todo"} == set(findings[0])


def test_the_doctor_goes_on_without_the_scope(po: Any, client: Any) -> None:
    def refused(*, online: bool) -> Any:
        raise Forbidden("you may not do this: it needs the scope admin")

    client.doctor = refused
    code, out, _ = po("doctor")
    assert code == 0
    assert "needs the scope admin" in out


def test_without_an_orchestrator_the_doctor_looks_himself(
    po: Any, client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same findings, in a process of their own: keys, store, workers; and no key in sight."""
    client.running = False
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("GEMINI_BASE_URL", "nonsense")
    code, out, _ = po("doctor", "--json")
    found = {f["what"]: f for f in json.loads(out)}
    assert code == 1, "a base URL that is none"
    assert found["gemini"]["verdict"] == "bad"
    assert "key sk-…5sDf from the environment" in found["openai"]["found"]
    assert found["workers"]["verdict"] == "ok"
    assert found["store"]["verdict"] == "note"
    assert found["anthropic"]["verdict"] == "note"
    assert KEY not in out


def test_a_doctor_that_cannot_look_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    (one,) = doctor._findings_without_orchestrator(False)
    assert one["verdict"] == "bad"
