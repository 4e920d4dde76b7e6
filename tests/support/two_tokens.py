"""One person with two tokens, as scoped tokens are: one may do everything, the other everything but run code."""

from __future__ import annotations

from typing import Any

from jupyter_server.auth import Authorizer, IdentityProvider, User

ALL, NO_CODE = "ada-with-all-scopes", "ada-without-code"


class OnePerson(IdentityProvider):
    async def get_user(self, handler: Any) -> User | None:
        known = self.get_token(handler) in (ALL, NO_CODE)
        handler._token_authenticated = known
        return User(username="ada") if known else None


class ByToken(Authorizer):
    """The token without code is refused `code:run` and nothing else."""

    def is_authorized(self, handler: Any, user: User, action: str, resource: str) -> bool:
        return resource != "po_jupyter:code" or self.identity_provider.get_token(handler) == ALL
