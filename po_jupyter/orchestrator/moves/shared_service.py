"""The service of shared runs as the server sees it that hands a run over to it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from po_jupyter.config import Settings
from po_jupyter.config.hub_runs import environment_token, shared_runs_url
from po_jupyter.errors import PoError, Unavailable, from_json
from po_jupyter.model.run.names import group_in_header
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.environment.key_store import KeyStore
from po_jupyter.orchestrator.threads import ToThread

_PATIENCE = 60.0  # s until an answer begins, or goes on
_PIECE = 2**18


class SharedRunsService:
    """Hands runs over, with the user's token of the hub, which is asked for at each request."""

    def __init__(self, settings: Settings, keys: KeyStore, to_thread: ToThread) -> None:
        """Nothing is asked yet."""
        self._settings = settings
        self._keys = keys
        self._to_thread = to_thread

    async def address(self) -> tuple[str, str]:
        """(URL, the user's token for it). Raises Unavailable, InvalidInput."""
        url = shared_runs_url(self._settings)
        token = await self._to_thread(self._token, url)
        if not token:
            raise Unavailable(
                "there is no token of the hub here, with which shared runs are asked for",
                hint="Make one on the hub's page Token: po keys set hub",
            )
        return url, token

    async def check(self, body: JsonObject, group: str) -> None:
        """Ask whether a run would be taken. Raises what is wrong with it, Unavailable."""
        await self._ask("POST", "handovers/check", group, json=body)

    async def put(self, sha256: str, path: Path, group: str) -> None:
        """Send the file of a run. Raises as `check`, and StoreError."""
        size = (await self._to_thread(path.stat)).st_size
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        await self._ask("PUT", f"handovers/{sha256}", group, content=self._pieces(path), headers=headers)

    async def _pieces(self, path: Path) -> AsyncIterator[bytes]:
        file = await self._to_thread(path.open, "rb")
        try:
            while piece := await self._to_thread(file.read, _PIECE):
                yield piece
        finally:
            file.close()

    async def accept(self, sha256: str, group: str) -> None:
        """Have the run worked off there. Raises as `check`; `details["handover"]` is "refused" where it is refused for
        good, and NotFound where the file is not there."""
        await self._ask("POST", f"handovers/{sha256}/accept", group, json={})

    async def _ask(
        self,
        method: str,
        path: str,
        group: str,
        *,
        json: JsonObject | None = None,
        content: AsyncIterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        url, token = await self.address()
        sent = {"Authorization": f"Bearer {token}", "Accept": "application/json", **(headers or {})}
        if group:
            sent["X-Po-Group"] = group_in_header(group)
        try:
            async with httpx.AsyncClient(timeout=_PATIENCE, follow_redirects=False) as client:
                response = await client.request(
                    method, f"{url}/po/api/v1/{path}", json=json, content=content, headers=sent
                )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _away(f"cannot be reached ({type(error).__name__})") from None
        if not response.is_success:
            raise _error_of(response)

    def _token(self, url: str) -> str:
        if self._keys.team is not None:
            return self._keys.hub_token()
        return environment_token(url, os.environ)


def _error_of(response: httpx.Response) -> PoError:
    try:
        error = response.json()["error"]
        return from_json(error) if isinstance(error["code"], str) else _away("answers in another way")
    except (ValueError, KeyError, TypeError):  # the hub's proxy, or nobody, in its place
        return _away(f"does not answer now ({response.status_code})")


def _away(what: str) -> Unavailable:
    return Unavailable(
        f"the hub's service of shared runs {what}", hint="Move the run again in a moment: po move RUN shared"
    )
