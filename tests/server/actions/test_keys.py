"""Keys over HTTP: who may, what is answered, and that no key is in an answer, a log or the audit (G16, P5, P10)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.jupyter_process import JupyterProcess

pytestmark = pytest.mark.integration

KEY = "sk-Zq7TtTb3vRkW9xYp2LmN8cJh5sDf"
QUIET = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring", "OPENAI_API_KEY": "", "GEMINI_API_KEY": ""}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(tmp_path_factory.mktemp("keys"), orchestrator=None, env=QUIET)
    yield process
    process.stop()


def written(process: JupyterProcess) -> bytes:
    """Everything below the server's folder but the file of keys."""
    files = (p for p in process.folder.rglob("*") if p.is_file() and p.name != "keys.json")
    return b"".join(p.read_bytes() for p in files)


def test_a_key_from_put_to_delete(real: JupyterProcess) -> None:
    with real.http() as http:
        answer = http.put("keys/openai", json={"key": KEY})
        assert answer.status_code == 200
        assert answer.json()["key"]["masked"] == "sk-…5sDf"
        assert http.get("keys").json()["keys"][0]["provider"] == "openai"
        found = {f["what"]: f for f in http.get("doctor").json()["findings"]}
        assert "sk-…5sDf from the file" in found["openai"]["found"]
        assert found["store"]["verdict"] == found["workers"]["verdict"] == "ok"
        assert http.delete("keys/openai").status_code == 204
        assert http.delete("keys/openai").status_code == 404
        entries = http.get("audit").json()["entries"]
        assert [(e["by"], e["action"], e["provider"]) for e in entries[:2]] == [
            ("local", "remove_key", "openai"),
            ("local", "set_key", "openai"),
        ]
        assert all(set(e) == {"at", "by", "action", "provider"} for e in entries[:2])
    assert KEY.encode() not in written(real)


BODIES: dict[str, Any] = {
    "nothing": {}, "a typo": {"kee": KEY}, "more": {"key": KEY, "for": "x"}, "a list": {"key": [KEY]},
    "a number": {"key": 12345678901234567890}, "null": {"key": None}, "spaces": {"key": f"{KEY} {KEY}"},
    "a line break": {"key": f"{KEY}\n{KEY}"}, "an object": {"key": {"value": KEY}}, "short": {"key": "sk-1"},
    "long": {"key": KEY * 1000},
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_what_is_no_key_is_refused_and_not_echoed(real: JupyterProcess, body: Any) -> None:
    """P10, P11."""
    with real.http() as http:
        answer = http.put("keys/openai", json=body)
        assert answer.status_code == 400, answer.text
        assert KEY not in answer.text
        assert answer.json()["error"]["message"]
        assert not http.get("keys").json()["keys"][0]["stored"]
    assert KEY.encode() not in written(real)


def test_a_provider_that_is_none(real: JupyterProcess) -> None:
    with real.http() as http:
        for provider in ("opnai", "local", "%2e%2e"):
            assert http.put(f"keys/{provider}", json={"key": KEY}).status_code == 400
        assert http.put("keys", json={"key": KEY}).status_code == 405
        assert http.put("keys/openai", content=b'{"key": "' + KEY.encode()).status_code == 400
    assert KEY.encode() not in written(real)


def test_the_environment_of_the_server_wins_and_the_check_speaks_over_http(real: JupyterProcess) -> None:
    """R2.5: 400 `environment`, everything in it; `options.skip_validation` is heard."""
    pipeline = {"name": "p", "tasks": [{"name": "a", "prompt": "x", "llm": "gemini:x"}]}
    asked: dict[str, Any] = {"pipeline": pipeline, "seed": {"name": "s", "data": {}}}
    with real.http() as http:
        answer = http.post("runs", json=asked)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["code"] == "environment"
        assert error["details"]["missing"] == [{"provider": "gemini", "variable": "GEMINI_API_KEY"}]
        assert error["details"]["violations"][0]["where"] == "tasks[0].llm.model"
        assert len(http.post("pipelines/validate", json={"pipeline": pipeline}).json()["warnings"]) == 1
        assert len(http.post("runs/estimate", json=asked).json()["warnings"]) == 1
        assert http.post("runs", json={**asked, "options": {"skip_validation": True}}).status_code == 201


def test_only_who_may_administer_sees_and_changes_keys(tmp_path: Path) -> None:
    """P5: scope `admin`; and CLI agents need `code:run` (bob has no code, carol only reads)."""
    process = JupyterProcess(
        tmp_path, orchestrator=None, token="",
        args=(
            "--ServerApp.identity_provider_class=tests.support.two_people.Named",
            "--ServerApp.authorizer_class=tests.support.two_people.Rules",
        ),
        env={**QUIET, "PO_CLI_AGENTS": "true"},
    )  # fmt: skip
    agent = {"name": "p", "tasks": [{"name": "a", "prompt": "x", "llm": "claude-cli:sonnet"}]}
    try:
        with process.http("token-of-carol") as carol:
            asked = [carol.get("keys"), carol.put("keys/openai", json={"key": KEY}), carol.delete("keys/openai"),
                     carol.get("doctor")]  # fmt: skip
            assert [a.status_code for a in asked] == [403] * 4
            assert all("scope admin" in a.json()["error"]["message"] for a in asked)
        with process.http("token-of-bob") as bob:
            assert bob.get("keys").status_code == 200
            refused = bob.post("runs", json={"pipeline": agent, "seed": {"name": "s", "data": {}}})
            assert refused.status_code == 403
            assert "code:run" in refused.json()["error"]["message"]
        with process.http("token-of-alice") as alice:
            refused = alice.post("runs", json={"pipeline": agent, "seed": {"name": "s", "data": {}}})
            assert refused.json()["error"]["code"] in ("environment", "forbidden")
            assert refused.status_code == 400, "she may; but the program is not installed here"
    finally:
        process.stop()
