"""Who asks: users by their tokens, remembered for at most a minute."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol, TypeVar

from po_jupyter.errors import InvalidSettings
from po_jupyter.hub.problems import GatewayProblem

Remembered = TypeVar("Remembered")
REMEMBERED = 60.0  # seconds that a token is believed without asking the hub again
_REFUSED = 5.0  # seconds that a refused token is refused without asking
_MOST = 10_000  # tokens that are remembered, of users and of nobody
_MOST_QUESTIONS = 20  # about unknown tokens, to the hub at a time
_MOST_WAITING = 500  # questions, those that wait for that among them


@dataclass(frozen=True, slots=True)
class HubUser:
    """A person or a service of the hub. `may_use`: it has the scope of this service; `is_admin`: that of its admins;
    `for_others`: it is a service that may ask in others' names."""

    name: str
    groups: tuple[str, ...] = ()
    may_use: bool = True
    is_admin: bool = False
    for_others: bool = False


class TokenAuthority(Protocol):
    """Knows users by their tokens."""

    async def user_for_token(self, token: str, session: str = "") -> HubUser | None:
        """The user of a token; None for one that is wrong, expired or revoked. Raises GatewayProblem when nobody can
        be asked. `session` is that of a browser, with which a token ends."""
        ...


class TokenTable:
    """An authenticator with a table of tokens: for tests, and for a gateway without a hub."""

    def __init__(self, users: Mapping[str, HubUser]) -> None:
        """`users` by token."""
        self.users = dict(users)

    @classmethod
    def read(cls, path: Path) -> TokenTable:
        """That of a JSON file, `{TOKEN: {name, groups?, may_use?, is_admin?, for_others?}}`. InvalidSettings."""
        try:
            rows = json.loads(path.read_text())
            return cls(
                {
                    token: HubUser(
                        row["name"],
                        tuple(row.get("groups", ())),
                        row.get("may_use", True),
                        row.get("is_admin", False),
                        row.get("for_others", False),
                    )
                    for token, row in rows.items()
                }
            )
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise InvalidSettings(f"{path} is no table of tokens ({type(error).__name__})") from None

    async def person(self, name: str) -> HubUser | None:
        """See `behalf.Directory`."""
        found = next((user for user in self.users.values() if user.name == name), None)
        return HubUser(name, found.groups) if found is not None else None

    async def has_group(self, name: str) -> bool:
        """See `behalf.Directory`."""
        return any(name in user.groups for user in self.users.values())

    async def user_for_token(self, token: str, session: str = "") -> HubUser | None:
        """See `TokenAuthority`."""
        return self.users.get(token)


class RememberedTokens:
    """An authenticator that remembers what another one said. Tokens are kept as digests only."""

    def __init__(
        self,
        authenticator: TokenAuthority,
        *,
        seconds: float = REMEMBERED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A user is remembered for `seconds`, a refusal for a shorter while."""
        self._authenticator = authenticator
        self._seconds = min(seconds, REMEMBERED)
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, HubUser]] = OrderedDict()
        self._refused: OrderedDict[bytes, float] = OrderedDict()
        self._questions = asyncio.Semaphore(_MOST_QUESTIONS)
        self._asking: dict[bytes, asyncio.Future[HubUser | None]] = {}

    async def user_for_token(self, token: str, session: str = "") -> HubUser | None:
        """See `TokenAuthority`. Many requests with one token make one question; those about tokens that were nobody's
        yet are few at a time, and beyond that turned away. Raises GatewayProblem."""
        key = sha256(f"{session}\0{token}".encode("utf-8", "replace")).digest()
        now = self._clock()
        known = self._known.get(key)
        if known is not None and known[0] > now:
            return known[1]
        if self._refused.get(key, 0.0) > now:
            return None
        asking = self._asking.get(key)
        if asking is None:
            if known is None and len(self._asking) >= _MOST_WAITING:
                raise GatewayProblem(
                    429, "rate_limited", "too many unknown tokens are asked about", retry_after=1
                )
            question = (
                self._ask(key, token, session) if known is not None else self._ask_in_turn(key, token, session)
            )
            asking = self._asking[key] = asyncio.ensure_future(question)
        return await asyncio.shield(asking)

    async def _ask_in_turn(self, key: bytes, token: str, session: str) -> HubUser | None:
        async with self._questions:
            return await self._ask(key, token, session)

    async def _ask(self, key: bytes, token: str, session: str) -> HubUser | None:
        try:
            user = await self._authenticator.user_for_token(token, session)
        finally:
            del self._asking[key]
        if user is None:
            self._known.pop(key, None)
            _remember(self._refused, key, self._clock() + min(_REFUSED, self._seconds))
        else:
            _remember(self._known, key, (self._clock() + self._seconds, user))
        return user


def _remember(table: OrderedDict[bytes, Remembered], key: bytes, value: Remembered) -> None:
    table[key] = value
    table.move_to_end(key)
    while len(table) > _MOST:
        table.popitem(last=False)


def token_in(headers: Mapping[str, str]) -> str:
    """The token of a request, where its wire puts a key. Raises GatewayProblem without one, or with two that differ.

    Never a query, which ends up in logs, and never a cookie, which a browser sends for others.
    """
    kind, _, bearer = headers.get("Authorization", "").partition(" ")
    found = {bearer.strip()} if kind.lower() in ("bearer", "token") else set()
    found |= {headers.get(name, "").strip() for name in ("x-api-key", "x-goog-api-key", "api-key")}
    found.discard("")
    if not found:
        raise GatewayProblem(401, "unauthorized", "a hub token is needed where the vendor's key would stand")
    if len(found) > 1:
        raise GatewayProblem(401, "unauthorized", "the request has two different tokens")
    token = found.pop()
    if len(token) > 1000 or not token.isascii() or not token.isprintable():
        raise GatewayProblem(401, "unauthorized", "the token is no token of the hub")
    return token


async def user_of(headers: Mapping[str, str], authenticator: TokenAuthority) -> HubUser:
    """Who sent a request, by its token. Raises GatewayProblem."""
    user = await authenticator.user_for_token(token_in(headers))
    if user is None:
        raise GatewayProblem(401, "unauthorized", "the hub does not know this token: wrong, expired or revoked")
    if not user.may_use:
        raise GatewayProblem(
            403,
            "no_access",
            f"{user.name} may not use this service: the scope access:services!service=po is missing",
        )
    return user
