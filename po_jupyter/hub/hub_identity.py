"""The hub's own word on who somebody is: tokens asked of its API, and the login of its OAuth for pages."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import aiohttp
from yarl import URL

from po_jupyter.errors import InvalidSettings
from po_jupyter.hub.identity import HubUser
from po_jupyter.hub.problems import GatewayProblem

ADMIN_SCOPE, BEHALF_SCOPE = "custom:po:admin", "custom:po:behalf"
_PATIENCE = 10.0  # seconds
_START = 30.0  # of the start of a server, which the hub answers before it is up


class HubIdentity:
    """The hub as an authenticator. Its addresses and the service's own token come from the hub's environment."""

    def __init__(self) -> None:
        """Raises InvalidSettings where JupyterHub is not installed, or did not start this."""
        try:
            from jupyterhub.services.auth import HubOAuth
        except ImportError as error:
            raise InvalidSettings(
                f"the gateway needs {error.name}, which is not installed", hint="pip install 'po_jupyter[hub]'"
            ) from None
        try:
            self._hub = HubOAuth(cache_max_age=1)
            self._hub.oauth_client_id, self._hub.api_token = self._hub.oauth_client_id, self._hub.api_token
            ready = bool(self._hub.access_scopes and self._hub.api_token)
        except ValueError:  # of traitlets: one of them is empty
            ready = False
        if not ready:
            raise InvalidSettings(
                "JUPYTERHUB_API_TOKEN and JUPYTERHUB_SERVICE_NAME are not set",
                hint="The gateway is started by the hub as a service, or with both in its environment.",
            )

    @property
    def prefix(self) -> str:
        """The path of the service, with a slash at both ends."""
        return str(self._hub.base_url)

    async def user_for_token(self, token: str, session: str = "") -> HubUser | None:
        """See `identity.TokenAuthority`."""
        from tornado.web import HTTPError

        try:
            model = await self._hub.user_for_token(token, use_cache=False, session_id=session, sync=False)
        except HTTPError as error:
            raise hub_away(error.status_code) from None
        return None if model is None else self._user(model)

    def _user(self, model: Mapping[str, object]) -> HubUser:
        name, groups = str(model["name"]), model.get("groups")
        # A service of the hub may have the name of a person.
        is_service = model.get("kind") == "service"
        name = f"service:{name}" if is_service else name
        return HubUser(
            name,
            tuple(sorted(str(group) for group in groups)) if isinstance(groups, list) else (),
            bool(self._hub.check_scopes(self._hub.access_scopes, model)),
            bool(self._hub.check_scopes({ADMIN_SCOPE}, model)),
            is_service and bool(self._hub.check_scopes({BEHALF_SCOPE}, model)),
        )

    # -- people and groups by name, for calls in their names ----------------------------------------------
    async def person(self, name: str) -> HubUser | None:
        """See `behalf.Directory`. The service needs `read:users:name` and `read:users:groups`."""
        model = await self._look_up("users", name)
        if model is None or model.get("name") != name:
            return None
        groups = model.get("groups")
        return HubUser(name, tuple(sorted(map(str, groups))) if isinstance(groups, list) else ())

    async def has_group(self, name: str) -> bool:
        """See `behalf.Directory`. The service needs `read:groups:name`."""
        model = await self._look_up("groups", name)
        return model is not None and model.get("name") == name

    # -- users' servers -----------------------------------------------------------------------------------
    async def has_server(self, name: str) -> bool | None:
        """See `server_starts.HubServers`. The service needs `read:users:name` and `read:servers`."""
        model = await self._look_up("users", name)
        servers = model.get("servers") if model is not None else None
        return "" in servers if isinstance(servers, dict) else None

    async def start_server(self, name: str) -> bool:
        """See `server_starts.HubServers`. The service needs `servers`."""
        url = URL(f"{self._hub.api_url}/users/{quote(name, safe='')}/server", encoded=True)
        headers = {"Authorization": f"token {self._hub.api_token}"}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_START)) as session,
                session.post(url, headers=headers, json={}, allow_redirects=False) as response,
            ):
                if response.status in (403, 404):
                    return False
                if response.status not in (201, 202, 400):  # 400: it is there, or on its way
                    raise hub_away(response.status)
                return True
        except (aiohttp.ClientError, TimeoutError):
            raise hub_away(0) from None

    async def _look_up(self, kind: str, name: str) -> Mapping[str, object] | None:
        url = URL(f"{self._hub.api_url}/{kind}/{quote(name, safe='')}", encoded=True)
        headers = {"Authorization": f"token {self._hub.api_token}"}
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PATIENCE)) as session,
                session.get(url, headers=headers, allow_redirects=False) as response,
            ):
                if response.status == 404:
                    return None
                if response.status != 200:
                    raise hub_away(response.status)
                model = await response.json()
                return model if isinstance(model, dict) else None
        except (aiohttp.ClientError, TimeoutError, ValueError):
            raise hub_away(0) from None

    # -- pages ------------------------------------------------------------------------------------------
    def login(self) -> tuple[str, str, str]:
        """Where a browser logs in, the state that it has to bring back, and the secret of its code (PKCE)."""
        verifier, challenge, method = self._hub.generate_pkce_code_challenge()
        state = self._hub.generate_state(self.prefix)
        url = f"{self._hub.login_url}&state={quote(state)}&code_challenge={quote(challenge)}"
        return f"{url}&code_challenge_method={method}", state, verifier

    async def token_for_code(self, code: str, verifier: str) -> str:
        """The token of a browser that logged in. Raises GatewayProblem."""
        from tornado.web import HTTPError

        try:
            return str(await self._hub.token_for_code(code, code_verifier=verifier, sync=False))
        except (HTTPError, KeyError):
            raise GatewayProblem(401, "unauthorized", "the hub does not know this login: begin again") from None


def hub_away(status: int) -> GatewayProblem:
    """The problem of a hub that does not answer: it says nothing about the token."""
    return GatewayProblem(
        503, "gateway_unavailable", f"the hub cannot be asked now ({status}): try again", retry_after=2
    )
