"""A Jupyter identity provider whose people are called by the scopes they have, and the authorizer that goes by them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jupyter_server.auth import Authorizer, IdentityProvider, User

from po_jupyter.server.auth import SCOPES

ARGS = (
    "--ServerApp.identity_provider_class=tests.support.scoped_people.ByScopes",
    "--ServerApp.authorizer_class=tests.support.scoped_people.Allowing",
)
_BEGINS = "may-"
_SCOPE_OF = {question: scope for scope, question in SCOPES.items()}


def token_with(scopes: Iterable[str]) -> str:
    """The token of somebody who has those scopes and no other."""
    return _BEGINS + ",".join(sorted(scopes))


class ByScopes(IdentityProvider):
    """Everybody whose token `token_with` made is known; all are one owner."""

    async def get_user(self, handler: Any) -> User | None:
        token = self.get_token(handler) or ""
        known = token.startswith(_BEGINS)
        handler._token_authenticated = known
        return User(username="somebody", name=token.removeprefix(_BEGINS)) if known else None


class Allowing(Authorizer):
    """Allows what the user's name says."""

    def is_authorized(self, handler: Any, user: User, action: str, resource: str) -> bool:
        return _SCOPE_OF.get((action, resource)) in str(user.name).split(",")
