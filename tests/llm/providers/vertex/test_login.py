"""The login of Google Cloud, with a service account and a token server of this test."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from po_jupyter.errors import ModelKeyError
from po_jupyter.llm.providers.short_lived import EXPIRES
from po_jupyter.llm.providers.vertex import login

pytestmark = pytest.mark.integration


class TokenServer(ThreadingHTTPServer):
    """Gives a token for each signed assertion; the nth is `token-n`."""

    def __init__(self) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self.status = 200
        self.lives = 3600
        super().__init__(("127.0.0.1", 0), _Tokens)


class _Tokens(BaseHTTPRequestHandler):
    server: TokenServer

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.asked.append(parse_qs(form))
        body: dict[str, Any] = {"error": "invalid_grant", "error_description": "the account is gone"}
        if self.server.status == 200:
            body = {"access_token": f"token-{len(self.server.asked)}", "expires_in": self.server.lives}
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def key() -> str:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    server = TokenServer()
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join(5)
    server.server_close()


@pytest.fixture
def account(tokens: TokenServer, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "GOOGLE_CLOUD_QUOTA_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "account.json"
    account = {
        "type": "service_account", "project_id": "my-project", "private_key_id": "1", "private_key": key,
        "client_email": "me@my-project.iam.gserviceaccount.com", "client_id": "1",
        "token_uri": f"http://127.0.0.1:{tokens.server_port}/token",
    }  # fmt: skip
    file.write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    return file


def test_a_service_account_becomes_a_token_with_its_project_and_its_end(
    account: Path, tokens: TokenServer
) -> None:
    found = login.obtain({})
    assert (found[login.TOKEN], found[login.PROJECT]) == ("token-1", "my-project")
    assert float(found[EXPIRES]) == pytest.approx(time.time() + 3600, abs=60)
    assert datetime.fromtimestamp(float(found[EXPIRES]), UTC)
    assert tokens.asked[0]["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    assert "PRIVATE" not in json.dumps(found)
    assert login.obtain({})[login.TOKEN] == "token-2", "each call has a new one"


def test_the_variable_names_another_project(account: Path) -> None:
    assert login.obtain({"GOOGLE_CLOUD_PROJECT": "other"})[login.PROJECT] == "other"


def test_what_is_wrong_with_a_login_is_said(
    account: Path, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens.status = 400
    with pytest.raises(ModelKeyError, match="invalid_grant") as caught:
        login.obtain({})
    assert "gcloud auth application-default login" in caught.value.hint
    account.write_text("{}")
    with pytest.raises(ModelKeyError, match="login of Google Cloud cannot be used"):
        login.obtain({})
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account) + ".none")
    with pytest.raises(ModelKeyError, match="was not found"):
        login.obtain({})


def test_a_login_without_a_project_is_refused(
    account: Path, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    import google.auth

    default = google.auth.default
    monkeypatch.setattr(google.auth, "default", lambda **more: (default(**more)[0], None))
    with pytest.raises(ModelKeyError, match="GOOGLE_CLOUD_PROJECT"):
        login.obtain({})
