"""`po token`, and `po token create`, `list`, `revoke`."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.client.async_client import Endpoint

MADE = {
    "id": "abc", "name": "board", "scopes": ["runs:read"], "owner": "local", "created_at": "2026-11-26T00:00:00Z",
    "expires_at": "2026-12-26T00:00:00Z", "expired": False,
}  # fmt: skip


@pytest.fixture
def calls(client: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the client was asked for."""
    recorded: list[Any] = []

    def create_token(scopes: list[str], *, expires: float, name: str) -> tuple[str, dict[str, Any]]:
        recorded.append((scopes, expires, name))
        return "po_abc_secret", MADE

    monkeypatch.setattr(client, "create_token", create_token, raising=False)
    monkeypatch.setattr(client, "tokens", lambda: [MADE, {**MADE, "id": "old", "expired": True}], raising=False)
    monkeypatch.setattr(client, "revoke_token", recorded.append, raising=False)
    monkeypatch.setattr(client, "aio", SimpleNamespace(endpoint=Endpoint(client.url, "whole")))
    return recorded


def test_token_alone_is_what_it_was(po: Any, calls: list[Any]) -> None:
    code, out, _ = po("token")
    assert (code, out) == (0, "PO_JUPYTER_URL=http://127.0.0.1:1/\nPO_JUPYTER_TOKEN=whole\n")
    assert json.loads(po("token", "--json")[1]) == {"url": "http://127.0.0.1:1/", "token": "whole"}


def test_a_token_is_made_for_scopes_and_a_time_and_printed_as_variables(po: Any, calls: list[Any]) -> None:
    """C7."""
    code, out, err = po("token", "create", "--scope", "runs:read", "--expires", "30d", "--name", "board")
    assert (code, out) == (0, "PO_JUPYTER_URL=http://127.0.0.1:1/\nPO_JUPYTER_TOKEN=po_abc_secret\n")
    assert "po token revoke abc" in err
    assert "another machine" in err
    po("token", "create", "--scope", "runs:read, runs:write", "--scope", "gates", "--expires", "12h")
    po("token", "create", "--scope", "admin")
    assert calls == [
        (["runs:read"], 30 * 86_400, "board"),
        (["runs:read", "runs:write", "gates"], 12 * 3600, ""),
        (["admin"], 30 * 86_400, ""),
    ]
    printed = json.loads(po("token", "create", "--scope", "admin", "--json")[1])
    assert (printed["token"], printed["id"], printed["expires_at"]) == (
        "po_abc_secret",
        "abc",
        MADE["expires_at"],
    )


@pytest.mark.parametrize("time", ["", "30", "d", "0d", "-1d", "1y", "1.5h", "9999999d", "30 d"])
def test_a_time_that_is_none_is_a_mistake_of_the_command(po: Any, calls: list[Any], time: str) -> None:
    assert po("token", "create", "--scope", "admin", "--expires", time)[0] == 2
    assert po("token", "create")[0] == 2
    assert calls == []


def test_tokens_are_listed_and_revoked(po: Any, calls: list[Any]) -> None:
    code, out, _ = po("token", "list")
    assert code == 0
    assert "board" in out
    assert out.count("(expired)") == 1
    assert [one["id"] for one in json.loads(po("token", "list", "--json")[1])] == ["abc", "old"]
    assert po("token", "revoke", "abc")[:2] == (0, "token abc is revoked\n")
    assert calls == ["abc"]
