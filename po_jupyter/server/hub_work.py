"""Says the gateway of a hub how many live runs a user's server has, so that the hub's admin may have the server started
again when it is gone and runs are not done."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import structlog

from po_jupyter.errors import PoError

log = structlog.get_logger(__name__)
EVERY = 5.0  # s between two looks
_AGAIN = 60.0  # s until the same is said again
_OFF = 600.0  # s until a gateway that starts nobody's server is asked again
_PATIENCE = 4.0  # s of a request


def token_of_server(hub_url: str | None) -> str:
    """The token of this server of a hub, if it is one that the gateway's address in the environment is for; else ""."""
    if hub_url is None or os.environ.get("PO_HUB_URL", "").strip().rstrip("/") != hub_url:
        return ""
    return os.environ.get("JUPYTERHUB_API_TOKEN", "") if os.environ.get("JUPYTERHUB_USER") else ""


async def tell(
    hub_url: str, token: str, ready: Callable[[], Awaitable[object]], live_runs: Callable[[], int]
) -> None:
    """Until cancelled: say the number of live runs when it begins or ends to be none, and every minute while there are.

    `ready` raises PoError while the orchestrator does not know its runs yet.
    """
    loop = asyncio.get_running_loop()
    reported: int | None = None  # what the gateway heard last
    seen, silent_until = -1, 0.0
    while True:
        await asyncio.sleep(EVERY)
        try:
            await ready()
        except PoError:
            continue
        before, seen = seen, live_runs()
        if seen == 0 and (before or reported == 0):  # none is seen twice: a run may go over into the next
            continue
        if loop.time() < silent_until and not (reported == 0 or (reported and seen == 0)):
            continue
        is_on = await _put(hub_url, token, seen)
        reported = seen if is_on else None
        silent_until = loop.time() + (_AGAIN if is_on else _OFF if is_on is False else 0.0)


async def _put(hub_url: str, token: str, runs: int) -> bool | None:
    """Say it; whether the gateway starts servers at all, None where it did not answer."""
    import httpx

    try:
        async with httpx.AsyncClient(timeout=_PATIENCE, follow_redirects=False) as client:
            response = await client.put(
                f"{hub_url}/api/work", json={"runs": runs}, headers={"authorization": f"Bearer {token}"}
            )
        if response.status_code == 404:
            return False  # an older one
        answer = response.json() if response.status_code == 200 else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        log.debug("the hub's gateway does not answer", error=type(error).__name__)
        return None
    return answer.get("start_servers_after") is not None if isinstance(answer, dict) else None
