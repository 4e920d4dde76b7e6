"""One checked request as an action sees it, and the forms that its answer may have."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel

if TYPE_CHECKING:
    from po_jupyter.server.routing.context import ServerContext

EVENTS, LINES = "text/event-stream", "application/x-ndjson"


class JsonResponse(NamedTuple):
    """A JSON answer with its status; 204 has no body."""

    value: Any
    status: int = 200


class FileResponse(NamedTuple):
    """An answer that is a file, to be saved and never to be shown: a model may have written it (P6)."""

    content: bytes
    name: str


class StreamResponse(NamedTuple):
    """An answer that goes on: server-sent events, or lines (`media`)."""

    source: AsyncGenerator[bytes, None]
    media: str = EVENTS


@dataclass(frozen=True)
class ApiRequest:
    """One checked request, as a route's function sees it."""

    orchestrator: Any
    owner: str
    path: dict[str, str]
    query: Any
    body: Any
    code_allowed: bool
    extension: ServerContext
    accept: str
    last_event_id: str | None
    upload: Any = None


Run = Callable[[ApiRequest], Awaitable[Any]]
Receive = Callable[[Any, str, dict[str, str]], Awaitable[Any]]  # orchestrator, owner, the path's parts


def body_fields(body: Any) -> dict[str, Any]:
    """What a body says. Definitions and seeds are handed on as they are: a copy of a large one takes time."""
    return {
        name: value.model_dump(exclude_none=True) if isinstance(value, BaseModel) else value
        for name, value in body
        if value is not None
    }
