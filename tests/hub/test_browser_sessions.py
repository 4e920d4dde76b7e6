"""Sessions of browsers in time and number; logins and forgeries are in `tests.hub.test_hub_identity`."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from po_jupyter.hub import browser_sessions
from po_jupyter.hub.browser_sessions import BrowserSessions
from po_jupyter.hub.identity import HubUser, TokenTable
from po_jupyter.hub.problems import GatewayProblem


class Login:
    def __init__(self) -> None:
        self.count = 0

    def login(self) -> tuple[str, str, str]:
        self.count += 1
        return f"https://hub/login?state=s{self.count}", f"s{self.count}", "verifier"

    async def token_for_code(self, code: str, verifier: str) -> str:
        return f"token-of-{code}"


def request(cookie: str = "", **headers: str) -> Any:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_mocked_request(
        "GET", "/services/po/", headers={**sent, **({"Cookie": cookie} if cookie else {})}
    )


def sessions(clock: list[float]) -> BrowserSessions:
    table = TokenTable({"token-of-a": HubUser("alice")})
    return BrowserSessions(Login(), table, "/services/po/", clock=lambda: clock[0])


def cookie_of(response: Any, name: str) -> str:
    cookies: SimpleCookie = response.cookies
    return f"{name}={cookies[name].value}"


async def log_in(browsers: BrowserSessions, n: int = 1) -> str:
    state = cookie_of(browsers.begin(request()), "po-login")
    return cookie_of(await browsers.finish(request(state), {"code": "a", "state": f"s{n}"}), "po-session")


async def test_a_session_ends_after_hours_or_with_its_token() -> None:
    clock = [0.0]
    browsers = sessions(clock)
    cookie = await log_in(browsers)
    assert await browsers.user_of(request(cookie)) == HubUser("alice")
    browsers._authenticator.users.clear()  # type: ignore[attr-defined]
    assert await browsers.user_of(request(cookie)) is None
    clock[0] = 13 * 3600
    assert await browsers.user_of(request(cookie)) is None


async def test_a_login_that_took_long_is_begun_again() -> None:
    clock = [0.0]
    browsers = sessions(clock)
    state = cookie_of(browsers.begin(request()), "po-login")
    clock[0] = 601.0
    with pytest.raises(GatewayProblem):
        await browsers.finish(request(state), {"code": "a", "state": "s1"})


async def test_sessions_and_logins_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_sessions, "_MOST", 3)
    browsers = sessions([0.0])
    for n in range(10):
        await log_in(browsers, n + 1)
        browsers.begin(request())
        browsers._login.count -= 1  # type: ignore[attr-defined]
    assert len(browsers._sessions) == 3 and len(browsers._logins) <= 3


def test_a_cookie_is_secure_behind_https() -> None:
    response = sessions([0.0]).begin(request(X_Forwarded_Proto="https,http"))
    assert response.cookies["po-login"]["secure"] and response.cookies["po-login"]["httponly"]
