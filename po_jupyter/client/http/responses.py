"""Meaning of HTTP responses: the JSON of an orchestrator, or the error to raise. No I/O."""

from __future__ import annotations

from contextlib import suppress

import httpx

from po_jupyter.client.inputs.kernel_keys import with_key_hints
from po_jupyter.errors import (
    Conflict,
    Forbidden,
    NotFound,
    PoError,
    RateLimited,
    Unauthenticated,
    Unavailable,
    from_json,
)
from po_jupyter.model.values.json import JsonObject

START_HINT = "`po start` starts an orchestrator; `po doctor` looks for the reason."


def read_response(url: str, response: httpx.Response) -> JsonObject:
    """The JSON object of a successful response of the orchestrator at `url`. Raises the error of any other."""
    if response.status_code == 204:
        return {}
    data: object = None
    with suppress(ValueError):
        data = response.json()
    if response.is_success and isinstance(data, dict):
        return data
    if isinstance(data, dict) and isinstance(data.get("error"), dict) and "code" in data["error"]:
        raise with_key_hints(from_json(data["error"]))
    raise _foreign_error(url, response.status_code)


def _foreign_error(url: str, status: int) -> PoError:
    """The error for a response of another server: a proxy, a hub, a Jupyter server without po_jupyter."""
    if status == 401:
        return Unauthenticated(f"{url} wants a token", hint="Set PO_JUPYTER_TOKEN, or restart the kernel.")
    if status == 403 or status in (301, 302, 303, 307, 308):
        # An expired token of a hub comes back as "'_xsrf' argument missing".
        return Forbidden(
            f"{url} does not accept this token",
            hint="It may have expired: restart the server, or set PO_JUPYTER_TOKEN to a new one.",
        )
    if status == 404:
        return NotFound(
            f"the server at {url} has no po_jupyter",
            hint="Install po_jupyter where the server runs and restart it, or use one of your own: `po start`.",
            details={"foreign": True},
        )
    if status == 409:
        return Conflict(f"{url} answered 409")
    if status == 429:
        return RateLimited(f"{url} answered 429: too many requests", hint="Wait a moment.")
    return Unavailable(f"{url} answered {status} without saying why", hint=START_HINT)
