"""A Jupyter identity provider that knows two people by their tokens, and an authorizer with rules for each."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth import Authorizer, IdentityProvider, User
from tornado.web import HTTPError

TOKENS = {"token-of-alice": "alice", "token-of-bob": "bob", "token-of-carol": "carol"}


class Named(IdentityProvider):
    async def get_user(self, handler: Any) -> User | None:
        name = TOKENS.get(self.get_token(handler) or "")
        handler._token_authenticated = name is not None
        return User(username=name) if name else None


class Rules(Authorizer):
    """Alice may do all, bob everything but run code, carol only read."""

    def is_authorized(self, handler: Any, user: User, action: str, resource: str) -> bool:
        if user.username == "carol":
            return (action, resource) == ("read", "po_jupyter:runs")
        return user.username == "alice" or resource != "po_jupyter:code"


class Troubled(Named):
    """As a hub's, when the hub does not answer: the token says how."""

    async def get_user(self, handler: Any) -> User | None:
        token = self.get_token(handler) or ""
        if token == "hub-gone":
            raise ConnectionRefusedError("the hub is not there")
        if token == "hub-slow":
            raise TimeoutError
        if token.startswith("hub-"):
            raise HTTPError(int(token.removeprefix("hub-")), "Failed to connect to Hub API")
        return await super().get_user(handler)


class TroubledRules(Rules):
    """Bob's rights cannot be looked up."""

    def is_authorized(self, handler: Any, user: User, action: str, resource: str) -> bool:
        if user.username == "bob":
            raise HTTPError(502, "Failed to check authorization (upstream problem)")
        return super().is_authorized(handler, user, action, resource)
