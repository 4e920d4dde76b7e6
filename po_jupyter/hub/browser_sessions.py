"""Sessions of browsers: who looks at a page, by the hub's OAuth. Cookies open pages, and nothing else.

The cookie names a session in memory, never a token. It counts only where a browser goes to a page as a whole: what a
script of another page requests (`fetch`, a frame, an image) has no user, whatever cookies come with it. So nothing
here can be changed with a cookie, and there is no form that would need a token against forgery; the login has one,
OAuth's state in a cookie of its own.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest
from typing import Protocol, TypeVar

from aiohttp import web

from po_jupyter.hub.identity import Authenticator, HubUser
from po_jupyter.hub.problems import GatewayProblem

_SESSION, _STATE = "po-session", "po-login"
_HOURS = 12 * 3600.0
_LOGIN = 600.0  # seconds that a login may take
_MOST = 10_000
_HUB_SESSION = "jupyterhub-session-id"
Value = TypeVar("Value")


class BrowserLogin(Protocol):
    """The login of a hub."""

    def login(self) -> tuple[str, str, str]:
        """Where a browser logs in, the state that it has to bring back, and the secret of its code."""
        ...

    async def token_for_code(self, code: str, verifier: str) -> str:
        """The token of a browser that logged in. Raises GatewayProblem."""
        ...


@dataclass(frozen=True, slots=True)
class _Session:
    token: str
    hub_session: str
    until: float


class BrowserSessions:
    """The browsers that are logged in, and those that are about to be."""

    def __init__(
        self,
        login: BrowserLogin,
        authenticator: Authenticator,
        prefix: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`prefix` is the path that cookies are for."""
        self._login = login
        self._authenticator = authenticator
        self._prefix = prefix
        self._clock = clock
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._logins: OrderedDict[str, tuple[str, float]] = OrderedDict()

    async def user_of(self, request: web.BaseRequest) -> HubUser | None:
        """Who goes to a page; None: nobody that is logged in."""
        # Browsers send these over HTTPS and on this machine only.
        mode, place = (request.headers.get(f"Sec-Fetch-{name}") for name in ("Mode", "Dest"))
        if request.method != "GET" or mode not in (None, "navigate") or place not in (None, "document"):
            return None
        session = self._sessions.get(request.cookies.get(_SESSION, ""))
        # A logout at the hub ends its session, and tokens with it.
        hub_session = request.cookies.get(_HUB_SESSION, "")
        if session is None or session.until < self._clock() or session.hub_session != hub_session:
            return None
        return await self._authenticator.user_for_token(session.token, hub_session)

    def begin(self, request: web.BaseRequest) -> web.Response:
        """Send a browser to the hub's login."""
        url, state, verifier = self._login.login()
        _keep(self._logins, state, (verifier, self._clock() + _LOGIN))
        response = web.Response(status=302, headers={"Location": url, "Cache-Control": "no-store"})
        self._set(request, response, _STATE, state, _LOGIN)
        return response

    async def finish(self, request: web.BaseRequest, query: dict[str, str]) -> web.Response:
        """Take over a browser that comes back from the login. Raises GatewayProblem."""
        state, cookie = query.get("state", ""), request.cookies.get(_STATE, "")
        verifier, until = self._logins.pop(state, ("", 0.0))
        if not state or not compare_digest(state.encode(), cookie.encode()) or until < self._clock():
            raise GatewayProblem(
                403, "no_access", "this login was not begun in this browser, or long ago: begin again"
            )
        token = await self._login.token_for_code(query.get("code", ""), verifier)
        name = secrets.token_urlsafe(32)
        session = _Session(token, request.cookies.get(_HUB_SESSION, ""), self._clock() + _HOURS)
        _keep(self._sessions, name, session)
        response = web.Response(status=302, headers={"Location": self._prefix, "Cache-Control": "no-store"})
        self._set(request, response, _SESSION, name, _HOURS)
        response.del_cookie(_STATE, path=self._prefix)
        return response

    def _set(
        self, request: web.BaseRequest, response: web.Response, name: str, value: str, seconds: float
    ) -> None:
        secure = request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip() == "https"
        response.set_cookie(
            name, value, path=self._prefix, max_age=int(seconds), httponly=True, samesite="Lax", secure=secure
        )


def _keep(table: OrderedDict[str, Value], name: str, value: Value) -> None:
    table[name] = value
    while len(table) > _MOST:
        table.popitem(last=False)
