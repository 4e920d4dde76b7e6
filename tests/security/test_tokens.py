"""Tokens at the doors of a real server: scoped ones do what their scopes say, wrong ones make their address wait."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from po_jupyter.client import discovery
from po_jupyter.server.auth import SCOPES
from po_jupyter.server.routes import TABLE
from tests.support.jupyter_process import JupyterProcess, body, definition

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(
        tmp_path_factory.mktemp("tokens"),
        args=(
            "--ServerApp.identity_provider_class=tests.support.two_people.Named",
            "--ServerApp.authorizer_class=tests.support.two_people.Rules",
        ),
    )
    yield process
    process.stop()


def create(server: JupyterProcess, *scopes: str, by: str = "token-of-alice", **more: Any) -> httpx.Response:
    with server.http(by) as client:
        return client.post("tokens", json={"scopes": scopes, **more})


def test_a_token_does_what_its_scopes_say_and_no_more(server: JupyterProcess) -> None:
    """C7: every route, with a token of each scope: refused exactly where the scope is missing."""
    for scope in SCOPES:
        secret = create(server, scope).json()["secret"]
        with server.http(secret) as client:
            for route in TABLE.routes:
                if route.streams or route.name in ("create_token", "revoke_token"):
                    continue
                path = route.path.replace("{", "").replace("}", "")
                answer = client.request(route.method, path, json={})
                refused = answer.status_code == 403 and "needs the scope" in answer.json()["error"]["message"]
                assert refused == (scope not in route.scopes), (scope, route.name, answer.text)


def test_code_needs_its_scope_as_well(server: JupyterProcess) -> None:
    code = {"pipeline": {"name": "c", "tasks": [{"name": "t", "source": "def ingestion(ctx): ..."}]}}
    run = {**body(), **code}
    for scopes, status in ((("runs:write",), 403), (("runs:write", "code:run"), 201)):
        with server.http(create(server, *scopes).json()["secret"]) as client:
            assert client.post("runs", json=run).status_code == status


def test_runs_of_a_token_are_its_makers(server: JupyterProcess) -> None:
    secret = create(server, "runs:write", "runs:read").json()["secret"]
    with server.http(secret) as client:
        run = client.post("runs", json=body()).json()["run"]
    assert run["owner"] == "alice"
    with server.http("token-of-alice") as client:
        assert client.get(f"runs/{run['id']}").status_code == 200
    with server.http("token-of-bob") as client:
        assert client.get(f"runs/{run['id']}").status_code == 404


def test_nobody_gives_away_what_they_do_not_have(server: JupyterProcess) -> None:
    """C7: neither a person, nor a token of less."""
    refused = create(server, "code:run", by="token-of-bob")
    assert (refused.status_code, refused.json()["error"]["details"]) == (403, {"scope": "code:run"})
    assert create(server, "runs:read", by="token-of-carol").status_code == 403
    less = create(server, "admin", "runs:read").json()["secret"]
    assert create(server, "runs:write", by=less).status_code == 403
    again = create(server, "runs:read", by=less)
    assert again.status_code == 201
    with server.http(again.json()["secret"]) as client:
        assert client.get("runs").status_code == 200
    secret = create(server, "runs:read", "runs:write", by="token-of-bob").json()["secret"]
    with server.http(secret) as client:
        assert client.get("keys").status_code == 403


def test_a_token_is_listed_without_itself_and_revoked(server: JupyterProcess) -> None:
    made = create(server, "runs:read", name="board", expires=3600).json()
    with server.http("token-of-alice") as client:
        listed = client.get("tokens")
        assert made["secret"] not in listed.text
        assert made["token"] in listed.json()["tokens"]
        assert client.get("health", headers={"Authorization": f"Bearer {made['secret']}"}).status_code == 200
        assert (
            client.get("health", headers={"Authorization": ""}, params={"token": made["secret"]}).status_code
            == 200
        )
        assert client.delete(f"tokens/{made['token']['id']}").status_code == 204
        assert client.delete(f"tokens/{made['token']['id']}").status_code == 404
    with server.http("token-of-bob") as client:
        assert made["token"] not in client.get("tokens").json()["tokens"]
    with server.http(made["secret"]) as client:
        assert client.get("health").status_code == 403
    audit = next((server.data / "audit").glob("*.jsonl")).read_text()
    entry = next(
        json.loads(line) for line in audit.splitlines() if '"create_token"' in line and "board" in line
    )
    assert (entry["id"], entry["scopes"], entry["name"]) == (made["token"]["id"], "runs:read", "board")
    assert made["secret"] not in audit + server.log.read_text()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["run:read"]}, "did you mean `runs:read`"),
        ({"scopes": "admin"}, "scopes"),
        ({"scopes": [{}, [], None, 3]}, "scopes"),
        ({"scopes": ["admin"], "expires": 0}, "expires"),
        ({"scopes": ["admin"], "expires": 1e12}, "expires"),
        ({"scopes": ["admin"], "name": "x" * 101}, "name"),
        ({"scopes": ["admin"] * 21}, "scopes"),
    ],
)
def test_a_malformed_wish_gets_one_clear_400(server: JupyterProcess, content: Any, expected: str) -> None:
    """P11."""
    with server.http("token-of-alice") as client:
        answer = client.post("tokens", json=content)
    assert answer.status_code == 400
    assert expected in answer.json()["error"]["message"]


def test_a_stream_ends_with_its_token(server: JupyterProcess) -> None:
    """A dashboard that lost its rights is not shown more."""
    made = create(server, "runs:read").json()
    with server.http(made["secret"]) as client, client.stream("GET", "events") as stream:
        lines = stream.iter_lines()
        assert next(lines)
        with server.http("token-of-alice") as alice:
            alice.delete(f"tokens/{made['token']['id']}")
        began = time.monotonic()
        for _ in lines:
            pass
        assert time.monotonic() - began < 14, "before the ping that would show a dead one"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterProcess]:
    process = JupyterProcess(tmp_path_factory.mktemp("strict"), env={"PO_MAX_WRONG_TOKENS": "4"})
    yield process
    process.stop()


def test_wrong_tokens_make_their_address_wait_before_anybody_is_asked(strict: JupyterProcess) -> None:
    """C7: 429 with Retry-After; it was 403 as often as somebody liked."""
    with strict.http() as known:
        assert known.get("health").status_code == 200
        with strict.http(None) as client:
            states = [client.get("health", headers={"Authorization": f"token wrong-{n}"}) for n in range(8)]
            assert [answer.status_code for answer in states] == [403] * 5 + [429] * 3
            assert states[-1].json()["error"]["code"] == "rate_limited"
            assert int(states[-1].headers["retry-after"]) >= 1
            assert client.get("health", params={"token": "wrong-9"}).status_code == 429
            assert client.get("health").status_code == 401, "without a token nothing was guessed"
        assert known.get("health").status_code == 200, "who is at work goes on"


def test_the_same_wrong_token_is_limited_too(tmp_path: Path) -> None:
    process = JupyterProcess(tmp_path, env={"PO_MAX_WRONG_TOKENS": "4"})
    try:
        with process.http("old") as client:
            states = [client.get("health").status_code for _ in range(8)]
        assert states == [403] * 5 + [429] * 3
        with process.http() as client:
            assert client.get("health").status_code == 200
    finally:
        process.stop()


def test_it_is_used_from_elsewhere_by_url_and_token(
    server: JupyterProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C7: another machine has PO_JUPYTER_URL and PO_JUPYTER_TOKEN, and nothing else."""
    secret = create(server, "runs:read", "runs:write").json()["secret"]
    monkeypatch.setenv("PO_JUPYTER_URL", server.url)
    monkeypatch.setenv("PO_JUPYTER_TOKEN", secret)
    client = discovery.connect()
    run = client.submit(definition())
    assert client.run(run.id).view.owner == "alice"
    client.close()
