"""`po doctor`: what it finds, here and at the orchestrator."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.cli.verbs import doctor
from po_jupyter.errors import Forbidden

pytestmark = pytest.mark.integration


def test_the_doctor_says_what_to_do_and_no_secret(
    po: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R2.5, P10."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("PO_MAX_RUNING", "3")
    client.running = False
    code, out, _ = po("doctor")
    assert "key … from the environment" in out
    assert "sk-very" not in out
    assert "did you mean `PO_MAX_RUNNING`?" in out
    assert "`po start` starts one" in out
    found = {f["what"]: f for f in json.loads(po("doctor", "--json")[1])}
    assert found["data directory"]["verdict"] == "ok"
    assert found["python"]["verdict"] == "ok"
    assert all(f["todo"] for f in found.values() if f["verdict"] == "bad")
    assert code == (1 if any(f["verdict"] == "bad" for f in found.values()) else 0)


def test_the_doctor_sees_a_data_directory_that_cannot_be(
    po: Any, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PO_DATA_DIR", str(tmp_path / "file" / "data"))
    code, out, _ = po("doctor")
    assert code == 1
    assert "cannot be made" in out
    assert "Set PO_DATA_DIR" in out


KEY = "sk-Zq7TtTb3vRkW9xYp2LmN8cJh5sDf"


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


def test_the_doctor_says_why_an_orchestrator_is_not_ready(
    po: Any, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ready", lambda: {"ready": False, "store": "the disk is full"})
    assert "is not ready: the disk is full\n" in po("doctor")[1]


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
