"""Calls in somebody's name: the service of shared runs asks models for the owner of a run, whose limits hold.

Its credential names the owner (`model.values.behalf`). It counts only with the token of a service of the hub that has
the scope `custom:po:behalf`; in anybody else's hands it is refused. What the owner may, and which groups it is in, is
the hub's word and not the service's; and nobody is an administrator in another's name.
"""

from __future__ import annotations

from typing import Protocol

from po_jupyter.hub.identity import HubUser, TokenAuthority
from po_jupyter.hub.problems import GatewayProblem
from po_jupyter.model.values.behalf import is_behalf, parse_behalf

GROUP = "group:"


class Directory(Protocol):
    """Knows people and groups by name."""

    async def person(self, name: str) -> HubUser | None:
        """The person; None for one that is not there (any more). Raises GatewayProblem."""
        ...

    async def has_group(self, name: str) -> bool:
        """Whether there is such a group. Raises GatewayProblem."""
        ...


class BehalfTokens:
    """An authenticator that takes the credentials of services in somebody's name as well."""

    def __init__(self, authority: TokenAuthority, directory: Directory) -> None:
        """Tokens are asked of `authority`, names of `directory`."""
        self._authority = authority
        self._directory = directory

    async def user_for_token(self, token: str, session: str = "") -> HubUser | None:
        """See `identity.TokenAuthority`."""
        if not is_behalf(token):
            return await self._authority.user_for_token(token, session)
        parsed = parse_behalf(token)
        if parsed is None or is_behalf(parsed[1]):
            return None
        name, own = parsed
        service = await self._authority.user_for_token(own)
        if service is None:
            return None
        if not (service.may_use and service.for_others):
            raise GatewayProblem(
                403,
                "no_access",
                f"{service.name} may not ask in another's name: that needs a service with the scope custom:po:behalf",
            )
        return await self._named(name)

    async def _named(self, name: str) -> HubUser | None:
        """The owner of a run: a person, or a group, which has limits as a person and as a group."""
        if name.startswith(GROUP):
            group = name.removeprefix(GROUP)
            return HubUser(name, (group,)) if await self._directory.has_group(group) else None
        return await self._directory.person(name)
