"""Authentication, authorization and request limits.

A request without credentials gets 401, one with wrong ones 403, always in JSON and never with a redirect; an
address that sends many wrong tokens waits (429). Credentials are Jupyter's own (token, or cookie with an XSRF check on
what changes things), the orchestrator's token (`PO_AUTH_TOKEN`) or a scoped one. What a known user may do is asked of
Jupyter's authorizer with an action and a resource of ours.
"""

from __future__ import annotations

import hmac
import math
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import structlog
from jupyter_server.auth import User
from jupyter_server.auth.identity import LegacyIdentityProvider
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import ensure_async
from tornado.web import HTTPError

from po_jupyter.config import owner as store_owner
from po_jupyter.errors import Forbidden, RateLimited, Unauthenticated, Unavailable
from po_jupyter.model.values.digests import short_digest
from po_jupyter.server.tokens import ScopedTokens
from po_jupyter.server.wrong_tokens import WrongTokens

if TYPE_CHECKING:
    from jupyter_server.auth import Authorizer, IdentityProvider

    from po_jupyter.config import Settings

_log = structlog.get_logger(__name__)
_HUB_PAUSE = 2  # s, after which a hub that did not answer is asked again

# scope -> the question to Jupyter's authorizer: (action, resource)
SCOPES: Mapping[str, tuple[str, str]] = {
    "runs:read": ("read", "po_jupyter:runs"),
    "runs:write": ("write", "po_jupyter:runs"),
    "gates": ("write", "po_jupyter:gates"),
    "admin": ("write", "po_jupyter:admin"),
    "code:run": ("execute", "po_jupyter:code"),
    "metrics": ("read", "po_jupyter:metrics"),
}
_HEADER = re.compile(r"(?:token|bearer)\s+(\S+)\s*", re.IGNORECASE)
_BUCKETS = 1000  # tokens whose rate is remembered


class Principal(NamedTuple):
    """The caller. `owner` owns the runs; `key` stands for the credentials where requests are counted. With a scoped
    token, `token_id`, only its `scopes` are possible. `person` is who acts, where the owner is a group; `groups` are
    theirs, with the scopes that they have in each."""

    owner: str
    user: User
    key: str
    by_token: bool
    token_id: str | None = None
    scopes: frozenset[str] | None = None
    person: str = ""
    groups: Mapping[str, frozenset[str]] = MappingProxyType({})


class Authenticator:
    """Finds out who asks. `own_token` is of this server's life, for its user's programs (`runtime/holder.json`);
    `tokens` are the scoped ones of the data directory."""

    def __init__(self, settings: Settings) -> None:
        """For one server of these settings."""
        self._settings = settings
        self._wrong = WrongTokens(settings.max_wrong_tokens)
        self.own_token = secrets.token_urlsafe(32)
        self.tokens = ScopedTokens(settings.data_dir)
        self._programs: tuple[str, Principal | None] = ("", None)  # the server's token, and who has it

    async def acting(self, handler: JupyterHandler, principal: Principal, run: str | None) -> Principal:
        """The principal with the owner for whom a request acts, on `run` where it is about one. Here everybody acts
        for themselves."""
        return principal

    def may_end(self, principal: Principal) -> bool:
        """Whether the right to a stream that is being sent can end before it."""
        return principal.token_id is not None

    async def is_valid(self, handler: JupyterHandler, principal: Principal, run: str | None) -> bool:
        """Whether who was let in still would be."""
        return principal.token_id is None or self.tokens.is_valid(principal.token_id)

    async def authenticate(self, handler: JupyterHandler) -> Principal:
        """The principal of this request. Raises Unauthenticated (no credentials), Forbidden (wrong ones), RateLimited
        (too many wrong ones) or Unavailable (who asks cannot be found out now)."""
        if not handler.check_host():
            raise Forbidden(
                "this server does not answer to that host name",
                hint="Use its own address, or set ServerApp.allow_remote_access.",
            )
        token = token_of(handler)
        if not token:
            return await self._by_jupyter(handler, token)
        address, digest = str(handler.request.remote_ip or ""), _digest(token)
        self._wrong.check(address, digest)
        try:
            principal = self._by_own_token(token) or await self._by_jupyter(handler, token)
        except Forbidden:
            self._wrong.wrong(address, digest)
            raise
        self._wrong.right(address, digest)
        return principal

    def _by_own_token(self, token: str) -> Principal | None:
        """The principal of a token that Jupyter knows nothing of."""
        setting = self._settings.auth_token
        configured = setting.get_secret_value() if setting is not None else ""
        if any(secret and _same(token, secret) for secret in (configured, self.own_token)):
            owner = store_owner.owner_of(self._settings.data_dir).owner
            return Principal(owner, User(username=owner), _digest(token), by_token=True)
        found = self.tokens.find(token)
        if found is None:
            return None
        token_id, record = found
        return Principal(
            record["owner"], User(username=record["user"]), _digest(token), by_token=True,
            token_id=token_id, scopes=frozenset(record["scopes"]),
        )  # fmt: skip

    async def _by_jupyter(self, handler: JupyterHandler, token: str) -> Principal:
        """The principal by Jupyter's own credentials: token, or cookie."""
        if (program := self._program(handler, token)) is not None:
            return program
        try:
            user = await ensure_async(handler.identity_provider.get_user(handler))
        except Exception as error:
            if not isinstance(error, HTTPError) or error.status_code >= 500 or error.status_code == 429:
                raise _nobody_to_ask(error) from error
            # A hub says 403 "'_xsrf' argument missing" to a POST whose token has expired.
            raise Forbidden(
                "the credentials were not accepted",
                hint="They may have expired: log in again, or restart the kernel.",
                details={"reason": str(error.log_message or error.reason or "")[:200]},
            ) from None
        if user is None:
            if token or handler.get_cookie(_cookie_name(handler)) is not None:
                raise Forbidden(
                    "the token or login is not valid here",
                    hint="It may have expired, be revoked or belong to another server: log in again, or restart the "
                    "kernel.",
                )
            raise Unauthenticated(
                "this needs a token", hint="Send it as `Authorization: token ...`; `po token` shows it."
            )
        by_token = bool(handler.identity_provider.is_token_authenticated(handler))
        owner = owner_of(handler.identity_provider, user, self._settings.data_dir)
        key = _digest(token) if by_token and token else f"user:{owner}"
        principal = Principal(owner, user, key, by_token)
        if by_token and token == getattr(handler, "token", None) and _is_jupyters(handler.identity_provider):
            self._programs = token, principal
        return principal

    def _program(self, handler: JupyterHandler, token: str) -> Principal | None:
        """The principal of a program with the server's own token in its header and no cookie, once it was let in.

        Jupyter would make up another random user for each request, and sign a cookie for it, which no program keeps.
        """
        known, principal = self._programs
        headers = handler.request.headers
        if principal is None or "Cookie" in headers or "Authorization" not in headers:
            return None
        now = str(getattr(handler, "token", None) or "")
        if not (_is_jupyters(handler.identity_provider) and _same(token, known) and _same(token, now)):
            return None
        setattr(handler, "_token_authenticated", True)  # what Jupyter notes of it  # noqa: B010
        owner = owner_of(handler.identity_provider, principal.user, self._settings.data_dir)
        return principal._replace(owner=owner)


def _nobody_to_ask(error: Exception) -> Unavailable:
    """The error for a hub, or another provider of identities, that does not answer: nobody's credentials are wrong."""
    _log.warning("who asks cannot be found out", error=f"{type(error).__name__}: {error}"[:500])
    return Unavailable(
        "the hub, or whoever knows the users of this server, does not answer",
        hint="Try again in a moment. Nothing was refused: it could not be asked.",
        details={"retry_after": _HUB_PAUSE},
    )


def token_of(handler: JupyterHandler) -> str:
    """The token in the header or in `?token=`, or an empty string."""
    match = _HEADER.fullmatch(handler.request.headers.get("Authorization", ""))
    return match[1] if match else handler.get_query_argument("token", "")


def owner_of(provider: IdentityProvider, user: User, data_dir: Path | None = None) -> str:
    """The name under which this user's runs are kept.

    Jupyter's own providers make up a new random user for every token request: for them it is the person of the data
    directory. Others know who it is; the person of the data directory has one name, on the hub and without.
    """
    person = store_owner.owner_of(data_dir) if data_dir is not None else None
    if _is_jupyters(provider):
        return person.owner if person is not None else store_owner.default_owner()
    name = str(user.username)
    return person.owner if person is not None and person.hub_user == name else name


def _is_jupyters(provider: IdentityProvider) -> bool:
    """Whether it is one that knows no names: a login handler of somebody else's, which Jupyter wraps, may know them."""
    parts: list[object] = [type(provider)]
    if isinstance(provider, LegacyIdentityProvider):
        parts.append(provider.login_handler_class)
    return all(getattr(part, "__module__", "").partition(".")[0] == "jupyter_server" for part in parts)


async def allowed(handler: JupyterHandler, authorizer: Authorizer, principal: Principal, scope: str) -> bool:
    """True when the token has the scope, and Jupyter's authorizer lets this user do what it stands for."""
    if principal.scopes is not None and scope not in principal.scopes:
        return False
    action, resource = SCOPES[scope]
    try:
        return bool(await ensure_async(authorizer.is_authorized(handler, principal.user, action, resource)))
    except HTTPError as error:
        if error.status_code < 500:
            return False
        raise _nobody_to_ask(error) from error


def check_xsrf(handler: JupyterHandler) -> None:
    """Refuse a change asked for with a cookie alone: another site could have sent it. Forbidden."""
    try:
        handler.check_xsrf_cookie()
    except HTTPError:
        raise Forbidden(
            "this change came with a login cookie but without its XSRF token, or from another site",
            hint="Send the _xsrf cookie's value as X-XSRFToken, or use a token.",
        ) from None


class RequestLimiter:
    """A token bucket per credentials: `per_minute` at once, refilled evenly. For this server alone."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Every bucket is full at first."""
        self._size = float(per_minute)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # remaining, at

    def count(self, key: str) -> None:
        """Count one request. RateLimited says how long to wait, in whole seconds."""
        now = self._clock()
        remaining, at = self._buckets.pop(key, (self._size, now))
        rate = self._size / 60
        remaining = min(self._size, remaining + (now - at) * rate)
        self._buckets[key] = (max(0.0, remaining - 1) if remaining >= 1 else remaining, now)
        while len(self._buckets) > _BUCKETS:
            self._buckets.popitem(last=False)
        if remaining < 1:
            wait = math.ceil((1 - remaining) / rate)
            raise RateLimited(
                f"more than {self._size:.0f} requests in a minute",
                hint=f"Wait {wait} s. The limit is the setting requests_per_minute.",
                details={"retry_after": wait},
            )


def _same(token: str, secret: str) -> bool:
    return hmac.compare_digest(token.encode("utf-8", "replace"), secret.encode())


def _digest(token: str) -> str:
    return short_digest(token, 16)


def _cookie_name(handler: JupyterHandler) -> str:
    provider = handler.identity_provider
    return str(provider.get_cookie_name(handler)) if hasattr(provider, "get_cookie_name") else ""
