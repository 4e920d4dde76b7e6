"""Shared runs through the server of a person, as its panel asks for them: what that person may, and nothing else of the
hub (issue 12). The panel itself is tested in tests/ui/test_shared_panel.py."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.testing.model_server import ModelServer
from tests.support.jupyter_process import JupyterProcess
from tests.support.shared_runs import TEAM_KEY, SharedRuns, shared_runs

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedRuns]:
    with (
        ModelServer(key=TEAM_KEY) as vendor,
        shared_runs(tmp_path_factory.mktemp("shared"), vendor.root_url) as running,
    ):
        yield running


def submit(client: Any, name: str, **task: Any) -> str:
    one = {"name": "label", "prompt": f"{name} {{{{ seed.text }}}}", **task}
    body = {
        "pipeline": {"name": name, "llm": {"model": "openai:gpt-5-mini", "max_tokens": 20}, "tasks": [one]},
        "seed": {"name": name, "data": {"text": "x"}},
    }
    response = client.post("runs", json=body)
    assert response.status_code == 201, response.text
    return str(response.json()["run"]["id"])


def test_a_persons_server_shows_shared_runs_and_asks_in_their_name(service: SharedRuns, tmp_path: Path) -> None:
    """bob may start, cancel and resume the runs of red, and decides no gate; alice may."""
    with service.client("alice", "red") as red, service.client("alice") as alice:
        gated, mine = submit(red, "gated", gate="fine?"), submit(alice, "of-alice")
        service.await_state("alice", gated, "waiting")
    hub = {"PO_HUB_RUNS_URL": service.url, "PO_HUB_TOKEN": "token-of-bob"}
    server = JupyterProcess(tmp_path, orchestrator=None, env=hub)
    try:
        with server.http() as http:
            found = {run["id"]: run for run in http.get("shared/runs/visible").json()["runs"]}
            assert found[gated]["may"] == ["runs:read", "runs:write"]
            assert mine not in found
            assert http.get(f"shared/runs/{mine}").status_code == 404
            cookie = {"Cookie": "jupyterhub-session-id=of-root", "X-Forwarded-User": "alice"}
            assert http.get(f"shared/runs/{mine}", headers=cookie).status_code == 404
            assert http.post(f"shared/runs/{gated}/gate", json={"decision": "approve"}).status_code == 403
            for path in ("meta", "health", "metrics", "handovers/check", "owners", "tokens"):
                assert http.get(f"shared/{path}").status_code in (404, 405), path
            assert http.post(f"shared/runs/{gated}/move", json={"to": "shared"}).status_code == 404
            assert http.post(f"shared/runs/{gated}/cancel", json={}).status_code < 300
            acts = service.await_state("alice", gated, "cancelled")["acts"]
            assert acts[-1]["by"] == "bob"
            reader = http.post("tokens", json={"scopes": ["runs:read"], "name": "reader"}).json()["secret"]
        with server.http(reader) as http:
            assert http.get(f"shared/runs/{gated}").status_code == 200
            assert http.post(f"shared/runs/{gated}/resume", json={}).status_code == 403
        with server.http(None) as http:
            assert http.get(f"shared/runs/{gated}").status_code == 401
    finally:
        server.stop()


@contextmanager
def listening() -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    """An address of a hub, and the (path, headers) of all that it is asked."""
    asked: list[tuple[str, dict[str, str]]] = []

    class Everything(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, dict(self.headers)))
            body = json.dumps({"token": "secret of the hub"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Set-Cookie", "a=b")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Everything)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


UP = ["%2e%2e", "..", "%2E%2E", ".%2e"]
ELSEWHERE = "hub/api/user"


def test_no_request_leads_to_the_hub_itself_with_the_users_token(tmp_path: Path) -> None:
    """Whoever had a token for reading runs read the whole hub as its user."""
    with listening() as (address, asked):
        hub = {"PO_HUB_RUNS_URL": f"{address}/services/po-runs", "PO_HUB_TOKEN": "token-of-bob"}
        server = JupyterProcess(tmp_path, orchestrator=None, env=hub)
        try:
            host = server.url.removeprefix("http://").split("/")[0]
            for up in UP:
                for between in ("/", "%2f"):
                    path = between.join(["runs", "1", "artifacts", *[up] * 8, *ELSEWHERE.split("/")])
                    connection = http.client.HTTPConnection(host, timeout=20)  # sends a path as it is
                    headers = {"Authorization": f"token {server.token}"}
                    connection.request("GET", f"/po/api/v1/shared/{path}", headers=headers)
                    response = connection.getresponse()
                    assert response.status >= 400, path
                    assert b"secret of the hub" not in response.read(), path
                    connection.close()
            assert asked == []
            with server.http() as client:
                headers = {
                    "Cookie": "session=1",
                    "X-Forwarded-For": "1.2.3.4",
                    "X-Po-Request": "r",
                    "Origin": "http://x",
                }
                response = client.get("shared/runs/1?a=%2e%2e%2f", headers=headers)
                assert "a=b" not in response.headers.get("Set-Cookie", "")
            ((path, sent),) = asked
            assert path == "/services/po-runs/po/api/v1/runs/1?a=%2e%2e%2f"
            assert sent["Authorization"] == "Bearer token-of-bob"
            assert not {"Cookie", "X-Forwarded-For", "X-Po-Request", "Origin"} & sent.keys()
            assert server.token not in str(sent)
        finally:
            server.stop()
