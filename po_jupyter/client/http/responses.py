"""What an HTTP answer means: the JSON of ours, or the error to raise. No I/O."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import httpx

from po_jupyter.client.inputs.kernel_keys import noticed
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

START_HINT = "`po start` starts an orchestrator; `po doctor` looks for the reason."


def read_answer(url: str, answer: httpx.Response) -> dict[str, Any]:
    """The JSON object of a good answer of the orchestrator at `url`. Raises the error of a bad one."""
    if answer.status_code == 204:
        return {}
    data: Any = None
    with suppress(ValueError):
        data = answer.json()
    if answer.is_success and isinstance(data, dict):
        return data
    if isinstance(data, dict) and isinstance(data.get("error"), dict) and "code" in data["error"]:
        raise noticed(from_json(data["error"]))
    raise _foreign(url, answer.status_code)


def _foreign(url: str, status: int) -> PoError:
    """The error for an answer that is not ours: a proxy's, a hub's, a Jupyter server without po_jupyter."""
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
