"""One checked request as an action sees it, and the forms that its response may have."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Generic, NamedTuple, TypeVar

from pydantic import BaseModel

if TYPE_CHECKING:
    from po_jupyter.server.routing.api import JsonMapping, OrchestratorApi, UploadApi
    from po_jupyter.server.routing.context import ServerContext

EVENTS, LINES = "text/event-stream", "application/x-ndjson"
METRICS = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus's text format
QueryT = TypeVar("QueryT", bound=BaseModel)
BodyT = TypeVar("BodyT", bound=BaseModel | None)


class JsonResponse(NamedTuple):
    """A response in JSON with its status; 204 has no body."""

    value: JsonMapping | None
    status: int = 200


class TextResponse(NamedTuple):
    """A response in plain text of some format, `media` says which."""

    content: bytes
    media: str


class FileResponse(NamedTuple):
    """A response that is a file, to be saved and never to be shown: a model may have written it (P6). It is sent piece
    by piece, and closed."""

    file: BinaryIO
    name: str


class StreamResponse(NamedTuple):
    """A response that goes on: server-sent events, or lines (`media`)."""

    source: AsyncGenerator[bytes, None]
    media: str = EVENTS


async def _may_nothing(scope: str) -> bool:
    return False


@dataclass(frozen=True)
class ApiRequest(Generic[QueryT, BodyT]):
    """One checked request. `path` has the parts of the path by name; `body` is None where the route takes none; `may`
    says whether the caller has a further scope; `user` is their name where the authorizer is asked, `token_id` the
    scoped token that they came with; `groups` are those of the caller, with the scopes that they have in each."""

    owner: str
    path: Mapping[str, str]
    query: QueryT
    body: BodyT
    extension: ServerContext
    running: OrchestratorApi | None = None
    code_allowed: bool = False
    accept: str = ""
    last_event_id: str | None = None
    upload: UploadApi | None = None
    user: str = ""
    token_id: str | None = None
    may: Callable[[str], Awaitable[bool]] = _may_nothing
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def orchestrator(self) -> OrchestratorApi:
        """The running orchestrator; only for routes that need one."""
        assert self.running is not None, "the route says needs_orchestrator=False"
        return self.running


ActionResult = JsonResponse | TextResponse | FileResponse | StreamResponse
Action = Callable[[ApiRequest[QueryT, BodyT]], Awaitable[ActionResult]]
UploadOpener = Callable[
    ["OrchestratorApi", str, Mapping[str, str]], Awaitable["UploadApi"]
]  # owner, path's parts


def body_fields(body: BaseModel) -> dict[str, object]:
    """The fields that a body has. Definitions and seeds are handed on as they are: a copy of a large one takes time."""
    return {
        name: value.model_dump(exclude_none=True) if isinstance(value, BaseModel) else value
        for name, value in body
        if value is not None
    }
