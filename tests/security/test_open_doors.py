"""P5: every route names its action and resource and refuses the anonymous."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest

from po_jupyter.server.auth import SCOPES
from po_jupyter.server.routes import TABLE
from tests.support.jupyter_process import API, JupyterProcess

pytestmark = pytest.mark.acceptance

UNKNOWN = [("GET", ""), ("GET", "nope"), ("POST", "runs/x/y/z"), ("GET", "runs/%ff%fe"), ("GET", "../v1/nope/")]


def doors(extra: Iterable[tuple[str, str]] = ()) -> list[tuple[str, str]]:
    known = [(route.method, re.sub(r"\{\w+\}", "abcd", route.path)) for route in TABLE.routes]
    every = [(method, path) for _, path in known for method in ("HEAD", "OPTIONS", "PATCH")]
    return [*known, *every, *UNKNOWN, *extra]


def open_doors(url: str, paths: Iterable[tuple[str, str]]) -> list[str]:
    """The doors that do not refuse: anything but 401 to nobody and 403 to a wrong token, in JSON."""
    found = []
    with httpx.Client(base_url=url + API, trust_env=False, timeout=20) as client:
        for method, path in paths:
            for headers, wanted in (({}, 401), ({"Authorization": "token wrong"}, 403)):
                answer = client.request(method, path, headers=headers)
                ours = answer.headers["content-type"].startswith("application/json")
                if answer.status_code != wanted or not ours or "location" in answer.headers:
                    found.append(f"{method} {path}: {answer.status_code} instead of {wanted}")
    return found


def test_every_route_and_every_unknown_path_refuses_the_anonymous(jupyter: JupyterProcess) -> None:
    """P5: 401 without credentials, 403 with wrong ones, never a page or a redirect."""
    assert open_doors(jupyter.url, doors()) == []


def test_the_walk_finds_a_door_that_somebody_left_open(tmp_path: Path) -> None:
    """P5: the check can fail."""
    process = JupyterProcess(tmp_path, extensions=("open_door", "po_jupyter"), strict=False)
    try:
        found = open_doors(process.url, doors(extra=[("GET", "left-open")]))
    finally:
        process.stop()
    assert found == ["GET left-open: 200 instead of 401", "GET left-open: 200 instead of 403"]


def test_every_route_names_known_scopes() -> None:
    """P5: action and resource come from the table, for each route."""
    for route in TABLE.routes:
        assert route.scopes
        assert set(route.scopes) <= set(SCOPES)
        assert route.summary.endswith(".") or route.summary


@pytest.mark.parametrize("where", ["header", "bearer", "query"])
def test_jupyters_token_opens(jupyter: JupyterProcess, where: str) -> None:
    """P5: by header (token or bearer) and by `?token=`."""
    headers = {
        "header": {"Authorization": f"token {jupyter.token}"},
        "bearer": {"Authorization": f"Bearer {jupyter.token}"},
        "query": {},
    }[where]
    params = {"token": jupyter.token} if where == "query" else {}
    with jupyter.http(None) as client:
        assert client.get("health", headers=headers, params=params).json() == {"status": "ok"}


def test_a_cookie_needs_its_xsrf_token_to_change_something(jupyter: JupyterProcess) -> None:
    """P5: a login cookie reads, and changes nothing without X-XSRFToken."""
    with jupyter.http(None) as client:
        client.get("health", params={"token": jupyter.token})
        client.headers.pop("Authorization", None)
        assert client.get("runs").status_code == 200  # by cookie now
        assert client.cookies["_xsrf"]
        refused = client.post("pipelines/validate", json={"pipeline": {}})
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "forbidden"
        assert "XSRF" in refused.json()["error"]["message"]
        passed = client.post(
            "pipelines/validate", json={"pipeline": {}}, headers={"X-XSRFToken": client.cookies["_xsrf"]}
        )
        assert passed.status_code == 400
        foreign = client.post(
            "pipelines/validate",
            json={"pipeline": {}},
            headers={"X-XSRFToken": client.cookies["_xsrf"], "Origin": "http://evil.example"},
        )
        assert foreign.status_code == 403


def test_no_other_site_may_read(jupyter: JupyterProcess) -> None:
    """P5: no CORS header, whatever the origin, and no foreign host name (DNS rebinding)."""
    with jupyter.http() as client:
        answer = client.get("health", headers={"Origin": "http://evil.example"})
        assert not [name for name in answer.headers if name.startswith("access-control")]
        rebound = client.get("health", headers={"Host": "evil.example"})
        assert rebound.status_code == 403
        assert rebound.json()["error"]["code"] == "forbidden"


def test_errors_never_carry_the_token(jupyter: JupyterProcess) -> None:
    """P10: not in an answer, not in the server's log."""
    with jupyter.http() as client:
        for method, path in doors():
            if path not in ("events",):
                answer = client.request(method, path, params={"token": jupyter.token}, json={"seed": 1})
                assert jupyter.token not in answer.text
    assert jupyter.token not in jupyter.log.read_text()
