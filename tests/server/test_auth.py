"""Authentication: whose a request is, what it may do, and how often it may come."""

from __future__ import annotations

from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.auth import User
from jupyter_server.auth.identity import IdentityProvider, LegacyIdentityProvider, PasswordIdentityProvider
from jupyter_server.auth.login import LegacyLoginHandler
from tornado.httputil import HTTPHeaders
from tornado.web import HTTPError

from po_jupyter.config import Settings
from po_jupyter.errors import Forbidden, RateLimited, Unauthenticated
from po_jupyter.server.auth import Authenticator, RequestLimiter, allowed, check_xsrf, owner_of, token_of
from tests.support.two_people import Named

RANDOM = User(username="5f0e3a", name="Anonymous Callisto")


@pytest.mark.parametrize("provider", [IdentityProvider, PasswordIdentityProvider, LegacyIdentityProvider])
def test_a_random_user_is_never_an_owner(
    provider: type[IdentityProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    """FINDINGS: a standalone token user gets a new random id on every request."""
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    assert owner_of(provider(), RANDOM) == "local"
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert owner_of(provider(), RANDOM) == "ada"


def test_a_provider_that_knows_people_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub's server may be shared: the owner is who asks, not whose server it is."""
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")
    assert owner_of(Named(), User(username="grace")) == "grace"


def test_a_login_handler_that_knows_people_is_believed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler of before Jupyter Server 2, which Jupyter's own provider wraps: all its users were one owner."""
    monkeypatch.setenv("JUPYTERHUB_USER", "ada")

    class CompanyLogin(LegacyLoginHandler):
        pass

    provider = LegacyIdentityProvider(login_handler_class=CompanyLogin)
    assert owner_of(provider, User(username="grace")) == "grace"


def test_a_bucket_refills_evenly() -> None:
    """DESIGN: so many a minute, told when to come back; each token has its own."""
    now = 0.0
    limiter = RequestLimiter(60, clock=lambda: now)
    for _ in range(60):
        limiter.count("a")
    limiter.count("b")
    with pytest.raises(RateLimited) as caught:
        limiter.count("a")
    assert caught.value.details == {"retry_after": 1}
    now = 2.0
    limiter.count("a")
    limiter.count("a")
    with pytest.raises(RateLimited):
        limiter.count("a")
    now = 1e6
    for _ in range(60):
        limiter.count("a")
    with pytest.raises(RateLimited):
        limiter.count("a")


def test_many_tokens_do_not_fill_the_memory() -> None:
    """Only so many buckets are kept."""
    limiter = RequestLimiter(60)
    for i in range(5000):
        limiter.count(str(i))
    assert len(limiter._buckets) <= 1000


# -- one request ------------------------------------------------------------------------------------------
class Provider(Named):
    """Knows this user, by a token or not; `error` is raised instead."""

    known: User | None = None
    by_token = False
    error: HTTPError | None = None

    def get_user(self, handler: Any) -> Any:
        if self.error is not None:
            raise self.error
        return self.known

    def is_token_authenticated(self, handler: Any) -> bool:
        return self.by_token

    def get_cookie_name(self, handler: Any) -> str:
        return "login"


class Request:
    """A request as the checks see it."""

    def __init__(self, *, query: str = "", cookie: str = "", host: bool = True, **headers: str) -> None:
        self.request = self
        self.headers = HTTPHeaders(headers)
        self.identity_provider = Provider()
        self.cookies = SimpleCookie(cookie)
        self._query, self._host = query, host
        self.xsrf: HTTPError | None = None
        self.remote_ip = "127.0.0.1"

    def check_host(self) -> bool:
        return self._host

    def get_query_argument(self, name: str, default: str) -> str:
        return self._query or default

    def get_cookie(self, name: str) -> Any:
        return self.cookies.get(name)

    def check_xsrf_cookie(self) -> None:
        if self.xsrf is not None:
            raise self.xsrf


def request(known: User | None = None, *, by_token: bool = False, **more: Any) -> Any:
    made = Request(**more)
    made.identity_provider.known, made.identity_provider.by_token = known, by_token
    return made


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authenticator:
    """Of a server with a token in its settings."""
    monkeypatch.delenv("JUPYTERHUB_USER", raising=False)
    return Authenticator(Settings(data_dir=tmp_path, auth_token="the-orchestrators-own"))


ADA = User(username="ada")


@pytest.mark.parametrize("header", ["token T0", "Token T0", "Bearer T0", "bearer   T0 "])
def test_a_token_comes_in_the_header_or_in_the_address(header: str) -> None:
    assert token_of(request(Authorization=header, query="T1")) == "T0"
    assert token_of(request(query="T1")) == "T1"
    for none in ("Basic T0", "T0", "token", "token T0 T1"):
        assert token_of(request(Authorization=none)) == ""


async def test_the_orchestrators_own_token_is_its_owners(own: Authenticator) -> None:
    principal = await own.authenticate(request(query="the-orchestrators-own"))
    assert (principal.owner, principal.by_token) == ("local", True)
    assert "the-orchestrators-own" not in principal.key
    for wrong in ("the-orchestrators-owm", "the-orchestrators-own2", "\xe9"):
        with pytest.raises(Forbidden):
            await own.authenticate(request(query=wrong))


async def test_without_a_token_of_its_own_an_empty_one_opens_nothing(tmp_path: Path) -> None:
    """P5."""
    with pytest.raises(Unauthenticated, match="needs a token"):
        await Authenticator(Settings(data_dir=tmp_path)).authenticate(request())


async def test_a_known_user_is_the_owner_and_counts_by_token_or_by_name(own: Authenticator) -> None:
    """Two tokens of one user are counted apart, two tabs of one login together."""
    first = await own.authenticate(request(ADA, by_token=True, query="T1"))
    second = await own.authenticate(request(ADA, by_token=True, query="T2"))
    tab = await own.authenticate(request(ADA, cookie="login=x"))
    assert {first.owner, second.owner, tab.owner} == {"ada"}
    assert len({first.key, second.key, tab.key}) == 3
    assert (tab.key, tab.by_token, first.by_token) == ("user:ada", False, True)
    assert "T1" not in first.key


class _Jupyters(IdentityProvider):
    """Jupyter's own, which counts how often it makes up a user."""

    made = 0

    def generate_anonymous_user(self, handler: Any) -> User:
        self.made += 1
        return User(f"random{self.made}")

    def get_user_cookie(self, handler: Any) -> None:
        return None

    def set_login_cookie(self, handler: Any, user: User) -> None:
        handler.cookies["login"] = user.username


_Jupyters.__module__ = IdentityProvider.__module__


async def test_a_program_with_jupyters_token_is_looked_up_once(own: Authenticator) -> None:
    """Another random user and a signed cookie for each of its requests were a twentieth of a submission."""
    provider: Any = _Jupyters(token="T0")

    async def ask(token: str = "T0", **headers: str) -> tuple[Any, Any]:
        made: Any = Request(Authorization=f"token {token}", **headers)
        made.identity_provider, made.token, made.log = provider, provider.token, provider.log
        made.base_url, made.current_user, made.host = "/", None, "localhost"
        made.get_argument = lambda name, default="": default
        return await own.authenticate(made), made

    first, asked = await ask()
    assert (first.by_token, provider.made, list(asked.cookies)) == (True, 1, ["login"])
    again, asked = await ask()
    assert (again, provider.made, list(asked.cookies)) == (first, 1, [])
    assert provider.is_token_authenticated(asked)
    await ask(Cookie="login=somebody")
    assert provider.made == 2, "a browser is whom its cookie names"
    with pytest.raises(Forbidden):
        await ask("T1")
    provider.token = "T2"
    with pytest.raises(Forbidden):
        await ask("T0")
    assert (await ask("T2"))[0].key != first.key


async def test_wrong_credentials_are_told_from_none(own: Authenticator) -> None:
    """DESIGN, Doors: 403 for what has expired, 401 for nothing at all; a foreign host name gets neither."""
    for wrong in (request(query="T1"), request(cookie="login=old")):
        with pytest.raises(Forbidden, match="not valid here"):
            await own.authenticate(wrong)
    with pytest.raises(Unauthenticated):
        await own.authenticate(request(cookie="other=1"))
    with pytest.raises(Forbidden, match="host name"):
        await own.authenticate(request(ADA, host=False, query="the-orchestrators-own"))
    expired = request()
    expired.identity_provider.error = HTTPError(403, "'_xsrf' argument missing from POST")
    with pytest.raises(Forbidden) as caught:
        await own.authenticate(expired)
    assert caught.value.details == {"reason": "'_xsrf' argument missing from POST"}


async def test_a_scope_is_asked_of_jupyters_authorizer(own: Authenticator) -> None:
    """P5: by its action and its resource."""
    asked: list[Any] = []

    class Authorizer:
        def is_authorized(self, handler: Any, user: User, action: str, resource: str) -> bool:
            asked.append((user.username, action, resource))
            return action == "read"

    authorizer: Any = Authorizer()
    principal = await own.authenticate(request(ADA))
    assert await allowed(request(), authorizer, principal, "runs:read")
    assert not await allowed(request(), authorizer, principal, "code:run")
    assert asked == [("ada", "read", "po_jupyter:runs"), ("ada", "execute", "po_jupyter:code")]


def test_a_change_by_cookie_alone_is_refused_in_words() -> None:
    made = request()
    check_xsrf(made)
    made.xsrf = HTTPError(403, "XSRF cookie does not match")
    with pytest.raises(Forbidden, match="XSRF"):
        check_xsrf(made)
