"""Who asks the service of shared runs, and for whom: a person of the hub, by a token, for themselves or a group."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from jupyter_server.auth import User
from jupyter_server.base.handlers import JupyterHandler

from po_jupyter.config import Settings
from po_jupyter.errors import CorruptRow, Forbidden, NotFound, PoError, Unauthenticated, Unavailable
from po_jupyter.hub.identity import HubUser, RememberedTokens, TokenAuthority, token_in
from po_jupyter.hub.problems import GatewayProblem
from po_jupyter.hub_runs.roles import ADMIN, OWN, GroupRoles
from po_jupyter.model.run.names import group_of_header
from po_jupyter.server.auth import Authenticator, Principal

if TYPE_CHECKING:
    from po_jupyter.server.routing.api import OrchestratorApi

GROUP_HEADER = "X-Po-Group"
GROUP = "group:"
_AMBIGUOUS = ("group:", "service:")  # what stands before the names of those that are no people


class RunningHost(Protocol):
    """The host of the orchestrator."""

    async def ready(self) -> OrchestratorApi:
        """The running orchestrator."""
        ...


class HubPeople(Authenticator):
    """Knows people by their tokens of the hub, in the header alone: there are no cookies, no tokens of the server's own
    and none in addresses. Whoever acts on a run of a group has the role that the hub's groups give."""

    def __init__(
        self, settings: Settings, tokens: TokenAuthority, roles: GroupRoles, host: RunningHost
    ) -> None:
        """Tokens are asked of `tokens`, and remembered for a minute; runs are looked up in the orchestrator of
        `host`."""
        super().__init__(settings)
        self._hub = RememberedTokens(tokens)
        self._roles = roles
        self._host = host

    async def authenticate(self, handler: JupyterHandler) -> Principal:
        """See `Authenticator`."""
        user = await self._user(handler)
        scopes = OWN | ADMIN if user.is_admin else OWN
        return Principal(
            user.name,
            User(username=user.name),
            f"user:{user.name}",
            by_token=True,
            scopes=scopes,
            person=user.name,
            groups={name: self._roles.scopes(name, user.groups) for name in self._roles.groups_of(user.groups)},
        )

    async def _user(self, handler: JupyterHandler) -> HubUser:
        try:
            user = await self._hub.user_for_token(token_in(handler.request.headers))
        except GatewayProblem as problem:
            raise _error_of(problem) from None
        if user is None:
            raise Forbidden(
                "the hub does not know this token: wrong, expired or revoked",
                hint="In a server of the hub, restart it; elsewhere make a token on the hub's page Token.",
            )
        if not user.may_use or "/" in user.name or user.name.startswith(_AMBIGUOUS):
            raise Forbidden(
                f"{user.name} may not use shared runs",
                hint="It needs the scope access:services!service=po-runs, which the hub's admin gives to people.",
            )
        return user

    async def acting(self, handler: JupyterHandler, principal: Principal, run: str | None) -> Principal:
        """The principal for the group that the header names, or whose run it is; else for the person.

        Forbidden for a group in which they have no role. A run that is neither theirs nor their groups' looks as one
        that is not there."""
        user = await self._user(handler)
        if named := group_of_header(handler.request.headers.get(GROUP_HEADER, "")):
            return self._for_group(principal, user, named)
        if run is not None and (group := await self._group_of(run, user)) is not None:
            return self._for_group(principal, user, group)
        return principal

    def _for_group(self, principal: Principal, user: HubUser, group: str) -> Principal:
        scopes = self._roles.scopes(group, user.groups)
        if not scopes:
            raise Forbidden(
                f"you have no role in the group {group!r:.60}",
                hint=f"Yours: {', '.join(self._roles.groups_of(user.groups)) or 'none'}.",
            )
        return principal._replace(owner=f"{GROUP}{group}", scopes=scopes)

    async def _group_of(self, run: str, user: HubUser) -> str | None:
        """The group of the user's whose run it is; None where it is the user's own, or none of theirs."""
        runs = (await self._host.ready()).runs
        groups = self._roles.groups_of(user.groups)
        for group in (None, *groups) if groups else ():
            try:
                await runs.get(run, user.name if group is None else f"{GROUP}{group}", whole_seed=False)
            except NotFound:
                continue
            except CorruptRow:  # it is there
                pass
            return group
        return None

    def may_end(self, principal: Principal) -> bool:
        """See `Authenticator`: a token may be revoked, and a person leave a group."""
        return True

    async def is_valid(self, handler: JupyterHandler, principal: Principal, run: str | None) -> bool:
        """See `Authenticator`."""
        try:
            now = await self.acting(handler, await self.authenticate(handler), run)
        except Unavailable:
            return True  # the hub could not be asked; it is asked again in a moment
        except PoError:
            return False
        return now.owner == principal.owner and "runs:read" in (now.scopes or ())


def _error_of(problem: GatewayProblem) -> PoError:
    if problem.status == 401:
        return Unauthenticated(
            "this needs a token of the hub",
            hint="Send it as `Authorization: Bearer ...`, never in the address.",
        )
    return Unavailable(
        "the hub, which knows who asks, does not answer",
        hint="Try again in a moment. Nothing was refused: it could not be asked.",
        details={"retry_after": 2},
    )
