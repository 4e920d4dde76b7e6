"""The hub's word on users, from a small hub of the test's own; and the login of browsers over it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import pytest_asyncio
from aiohttp import web

from po_jupyter.errors import InvalidSettings
from po_jupyter.hub.hub_identity import HubIdentity
from po_jupyter.hub.identity import HubUser
from po_jupyter.testing.model_server import ModelServer
from tests.support.hub import GatewayClient, running

pytest.importorskip("jupyterhub", reason="not installed here: pip install 'po_jupyter[hub]'")
pytestmark = [pytest.mark.integration, pytest.mark.asyncio]
SERVICE = "access:services!service=po"
ALICE = {"name": "alice", "kind": "user", "groups": ["red", "blue"], "scopes": [SERVICE], "session_id": None}


@dataclass
class FakeHub:
    """What the gateway asks of a hub: who a token is of, and a token for the code of a login."""

    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: int = 200
    asked: int = 0
    codes: list[dict[str, str]] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        if self.status != 200:
            return web.json_response({"status": self.status}, status=self.status)
        if request.path.endswith("/oauth2/token"):
            form = dict(parse_qsl((await request.read()).decode()))
            self.codes.append(form)
            if form.get("code") != "good-code":
                return web.json_response({"error": "invalid_grant"}, status=400)
            return web.json_response({"access_token": "browser-token"})
        self.asked += 1
        user = self.users.get(request.headers.get("Authorization", "").removeprefix("token "))
        return web.json_response(user or {"status": 403}, status=200 if user else 403)


@pytest_asyncio.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeHub]:
    hub = FakeHub({"alice-token": ALICE, "browser-token": ALICE})
    runner = web.ServerRunner(web.Server(hub.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}/hub/api"
    for name, value in {
        "API_URL": address, "API_TOKEN": "service-token", "SERVICE_NAME": "po", "CLIENT_ID": "service-po",
        "SERVICE_PREFIX": "/services/po/", "OAUTH_ACCESS_SCOPES": json.dumps([SERVICE]), "BASE_URL": "/",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"JUPYTERHUB_{name}", value)
    yield hub
    await runner.cleanup()


@pytest_asyncio.fixture
async def gateway(hub: FakeHub, tmp_path: Path) -> AsyncIterator[GatewayClient]:
    identity = HubIdentity()
    with ModelServer() as server:
        async with running(tmp_path, server.root_url, authenticator=identity, login=identity) as client:
            yield client


async def test_a_user_has_the_groups_and_scopes_that_the_hub_says(hub: FakeHub) -> None:
    identity = HubIdentity()
    assert await identity.user_for_token("alice-token") == HubUser("alice", ("blue", "red"))
    hub.users["admin"] = {**ALICE, "scopes": [SERVICE, "custom:po:admin"]}
    hub.users["robot"] = {"name": "alice", "kind": "service", "scopes": [SERVICE]}
    hub.users["other"] = {**ALICE, "scopes": ["access:services!service=other", "read:users!user=alice"]}
    assert await identity.user_for_token("admin") == HubUser("alice", ("blue", "red"), is_admin=True)
    assert await identity.user_for_token("robot") == HubUser("service:alice")
    assert await identity.user_for_token("other") == HubUser("alice", ("blue", "red"), may_use=False)
    assert await identity.user_for_token("nobody") is None


async def test_a_hub_that_is_away_says_nothing_about_a_token(gateway: GatewayClient, hub: FakeHub) -> None:
    """A run must wait then, and not take its token for revoked."""
    hub.status = 502
    status, answer, headers = await gateway.ask("GET", "api/models")
    assert (status, answer["error"]["code"], headers["Retry-After"]) == (503, "gateway_unavailable", "2")
    hub.status = 200
    assert (await gateway.ask("GET", "api/models"))[0] == 200


async def test_the_hub_is_asked_once_for_many_requests(gateway: GatewayClient, hub: FakeHub) -> None:
    for _ in range(20):
        assert (await gateway.ask("GET", "api/usage"))[0] == 200
    assert hub.asked == 1


async def test_without_a_hubs_environment_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_TOKEN", "SERVICE_NAME", "CLIENT_ID", "OAUTH_ACCESS_SCOPES"):
        monkeypatch.delenv(f"JUPYTERHUB_{name}", raising=False)
    with pytest.raises(InvalidSettings, match="JUPYTERHUB_API_TOKEN"):
        HubIdentity()


# -- pages ----------------------------------------------------------------------------------------------
GO = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}


async def begin(gateway: GatewayClient) -> tuple[str, str]:
    """A login that was begun: its state, and the cookie."""
    status, _, headers = await gateway.ask("GET", "", token="", **GO)
    assert status == 302
    place = urlsplit(headers["Location"])
    query = dict(parse_qsl(place.query))
    assert place.path == "/hub/api/oauth2/authorize" and query["code_challenge_method"] == "S256"
    cookie = headers["Set-Cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Lax", "Path=/services/po/"))
    return query["state"], cookie.partition(";")[0]


async def login(gateway: GatewayClient) -> str:
    """The cookie of a browser that is logged in."""
    state, cookie = await begin(gateway)
    path = f"oauth_callback?code=good-code&state={state}"
    status, _, headers = await gateway.ask("GET", path, token="", Cookie=cookie, **GO)
    assert (status, headers["Location"]) == (302, "/services/po/")
    gateway.session.cookie_jar.clear()
    return next(c.partition(";")[0] for c in headers.getall("Set-Cookie") if c.startswith("po-session="))  # type: ignore[attr-defined]


async def test_a_browser_logs_in_by_the_hub_and_sees_its_own(gateway: GatewayClient, hub: FakeHub) -> None:
    cookie = await login(gateway)
    assert hub.codes[0]["client_secret"] == "service-token" and hub.codes[0]["code_verifier"]
    status, page, headers = await gateway.ask("GET", "", token="", Cookie=cookie, **GO)
    assert status == 200 and "alice" in page and "by user" not in page and "browser-token" not in str(headers)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "sandbox" in policy and "unsafe" not in policy
    assert "<script" not in page and headers["X-Content-Type-Options"] == "nosniff"


async def test_an_administrator_sees_who_used_what(gateway: GatewayClient, hub: FakeHub) -> None:
    name = "<script>alert(1)</script>"
    hub.users["mallory"] = {**ALICE, "name": name}
    assert (await gateway.chat(token="mallory"))[0] == 200
    hub.users["browser-token"] = {**ALICE, "scopes": [SERVICE, "custom:po:admin"]}
    cookie = await login(gateway)
    _, page, _ = await gateway.ask("GET", "", token="", Cookie=cookie, **GO)
    assert "by user" in page and "&lt;script&gt;alert(1)" in page and name not in page
    status, text, headers = await gateway.ask(
        "GET", "api/admin/usage?format=csv", token="", Cookie=cookie, **GO
    )
    assert (
        status == 200
        and text.startswith("name,calls")
        and headers["Content-Disposition"].startswith("attachment")
    )


async def test_a_cookie_is_for_going_to_a_page_alone(gateway: GatewayClient, hub: FakeHub) -> None:
    """Another user's server is on the same host: what its pages request brings the cookie along."""
    hub.users["browser-token"] = {**ALICE, "scopes": [SERVICE, "custom:po:admin"]}
    cookie = await login(gateway)
    for mode, place in (
        ("cors", "empty"),
        ("no-cors", "script"),
        ("same-origin", "empty"),
        ("navigate", "iframe"),
    ):
        sent = {"Sec_Fetch_Mode": mode, "Sec_Fetch_Dest": place, "Cookie": cookie}
        status, page, _ = await gateway.ask("GET", "", token="", **sent)
        assert status in (302, 401) and "by user" not in str(page)
        for path in ("api/admin/usage", "api/admin/limits", "api/usage", "api/models"):
            assert (await gateway.ask("GET", path, token="", **sent))[0] == 401
        assert (await gateway.ask("PUT", "api/admin/limits", {}, token="", **sent))[0] == 401
    assert (await gateway.ask("PUT", "api/admin/limits", {}, token="", Cookie=cookie, **GO))[0] == 401
    assert (await gateway.ask("POST", "openai/v1/chat/completions", {}, token="", Cookie=cookie, **GO))[
        0
    ] == 401


async def test_a_login_ends_in_the_browser_that_began_it(gateway: GatewayClient) -> None:
    """Forgery of the login: an attacker's code in the victim's browser, a state twice, none, another's."""
    state, cookie = await begin(gateway)
    gateway.session.cookie_jar.clear()
    for query, sent in (
        (f"code=good-code&state={state}", ""), ("code=good-code", cookie), ("code=good-code&state=x", cookie),
        ("code=good-code&state=x", "po-login=x"),
    ):  # fmt: skip
        status, _, _ = await gateway.ask(
            "GET", f"oauth_callback?{query}", token="", **({"Cookie": sent} if sent else {})
        )
        assert status == 403
    state, cookie = await begin(gateway)
    assert (await gateway.ask("GET", f"oauth_callback?code=bad&state={state}", token="", Cookie=cookie))[
        0
    ] == 401
    gateway.session.cookie_jar.clear()
    again = await gateway.ask("GET", f"oauth_callback?code=good-code&state={state}", token="", Cookie=cookie)
    assert again[0] == 403


async def test_another_users_cookie_or_a_logout_at_the_hub_ends_it(
    gateway: GatewayClient, hub: FakeHub
) -> None:
    cookie = await login(gateway)
    status, _, _ = await gateway.ask("GET", "", token="", Cookie=f"{cookie}; jupyterhub-session-id=other", **GO)
    assert status == 302
    assert (await gateway.ask("GET", "", token="", Cookie=f"{cookie[:-1]}x", **GO))[0] == 302
