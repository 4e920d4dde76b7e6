"""The probe of a server: whether an orchestrator answers at an endpoint and lets us in."""

from __future__ import annotations

from po_jupyter.client import background_loop as loop
from po_jupyter.client.async_client import AsyncClient, Endpoint
from po_jupyter.errors import Forbidden, NotFound, PoError, Unauthenticated, Unavailable

_TIMEOUT = 5.0  # seconds that a server may take to answer


def connection_problem(endpoint: Endpoint) -> PoError | None:
    """The reason why this server cannot be used, or None. An orchestrator that is merely busy can be."""

    async def check_health() -> None:
        async with AsyncClient(endpoint, timeout=_TIMEOUT) as client:
            await client.health()

    try:
        loop.run(check_health(), _TIMEOUT * 3)
    except (NotFound, Unavailable, Unauthenticated, Forbidden) as error:
        return error
    except TimeoutError:
        return Unavailable(f"the server at {endpoint.url} does not answer")
    except PoError:
        return None
    return None
