"""Correlation ids: one id finds one request in every log (R2.4), from the cell over the run to the call to a model.

client ── X-Request-Id ─► server ── run.created ─► worker ── X-Client-Request-Id ─► model
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

HEADER = "X-Request-Id"
TO_MODELS = "x-client-request-id"  # as OpenAI's API reference, "Debugging requests", calls it
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")

request_id: ContextVar[str] = ContextVar("po_request_id", default="")
# The person who acts in the name of a group; "": the owner of the run acts.
actor: ContextVar[str] = ContextVar("po_actor", default="")
# Where the work of this context stands (task, stage, attempt, index): asked when a line is written.
place: ContextVar[Callable[[], Mapping[str, Any]] | None] = ContextVar("po_place", default=None)


def new_id() -> str:
    """16 random hex digits."""
    return secrets.token_hex(8)


def accepted(text: str | None) -> str:
    """The id that somebody sent, or a new one when it is none: it goes into logs and headers."""
    return text if text is not None and _ACCEPTED.fullmatch(text) else new_id()


def add(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor that adds `request` and the place of the work."""
    if (request := request_id.get()) and "request" not in event:
        event["request"] = request
    if (where := place.get()) is not None:
        for name, value in where().items():
            if value not in (None, ""):
                event.setdefault(name, value)
    return event
