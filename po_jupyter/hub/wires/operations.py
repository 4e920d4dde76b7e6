"""Operations: the paths of the vendors' wires that are passed on. What is not here is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from po_jupyter.hub.config import Wire

Kind: TypeAlias = Literal[
    "call", "models", "upload", "files", "file", "content", "delete_file", "create", "batches", "batch", "results",
    "cancel", "delete_batch",
]  # fmt: skip
Api: TypeAlias = Literal["chat", "responses", "messages", "gemini", "embeddings", "gemini_embeddings"]


class Operation(NamedTuple):
    """One operation of a vendor. `path` is the vendor's, below its base URL; `id` what it names: a model, a file."""

    kind: Kind
    api: Api
    path: str
    id: str = ""
    query: Mapping[str, str] = {}


# What may stand in a path: nothing that anybody decodes, climbs with or joins.
_PLAIN = re.compile(r"[A-Za-z0-9_:.-]+(?:/[A-Za-z0-9_:.-]+)*")
_ID = r"([A-Za-z0-9_-]{1,200})"
_MODEL = r"([A-Za-z0-9][A-Za-z0-9._-]{0,200})"
_PAGES: Mapping[Wire, frozenset[str]] = {
    "openai": frozenset({"limit", "after", "order", "purpose"}), "chat": frozenset({"limit", "after"}),
    "anthropic": frozenset({"limit", "after_id", "before_id"}), "gemini": frozenset({"pageSize", "pageToken"}),
    "mistral": frozenset({"page", "page_size", "order_by", "purpose"}),
}  # fmt: skip
_QUERY_VALUE = re.compile(r"[A-Za-z0-9_-]{0,200}")

_CHAT: tuple[tuple[str, str, Kind, Api], ...] = (
    ("POST", "/chat/completions", "call", "chat"),
    ("POST", "/embeddings", "call", "embeddings"),
    ("GET", "/models", "models", "chat"),
)
_FILES: tuple[tuple[str, str, Kind, Api], ...] = (
    ("POST", "/files", "upload", "chat"),
    ("GET", "/files", "files", "chat"),
    ("GET", f"/files/{_ID}", "file", "chat"),
    ("DELETE", f"/files/{_ID}", "delete_file", "chat"),
    ("GET", f"/files/{_ID}/content", "content", "chat"),
)
_OPENAI: tuple[tuple[str, str, Kind, Api], ...] = (
    *_CHAT,
    *_FILES,
    ("POST", "/responses", "call", "responses"),
    ("POST", "/batches", "create", "chat"),
    ("GET", "/batches", "batches", "chat"),
    ("GET", f"/batches/{_ID}", "batch", "chat"),
    ("POST", f"/batches/{_ID}/cancel", "cancel", "chat"),
)
_MISTRAL: tuple[tuple[str, str, Kind, Api], ...] = (
    *_CHAT,
    *_FILES,
    ("POST", "/batch/jobs", "create", "chat"),
    ("GET", "/batch/jobs", "batches", "chat"),
    ("GET", f"/batch/jobs/{_ID}", "batch", "chat"),
    ("POST", f"/batch/jobs/{_ID}/cancel", "cancel", "chat"),
)
_ANTHROPIC: tuple[tuple[str, str, Kind, Api], ...] = (
    ("POST", "/v1/messages", "call", "messages"),
    ("GET", "/v1/models", "models", "messages"),
    ("POST", "/v1/messages/batches", "create", "messages"),
    ("GET", "/v1/messages/batches", "batches", "messages"),
    ("GET", f"/v1/messages/batches/{_ID}", "batch", "messages"),
    ("DELETE", f"/v1/messages/batches/{_ID}", "delete_batch", "messages"),
    ("GET", f"/v1/messages/batches/{_ID}/results", "results", "messages"),
    ("POST", f"/v1/messages/batches/{_ID}/cancel", "cancel", "messages"),
)
_GEMINI: tuple[tuple[str, str, Kind, Api], ...] = (
    ("POST", f"/v1(?:beta)?/models/{_MODEL}:(?:generateContent|streamGenerateContent)", "call", "gemini"),
    ("POST", f"/v1(?:beta)?/models/{_MODEL}:(?:embedContent|batchEmbedContents)", "call", "gemini_embeddings"),
    ("GET", "/v1(?:beta)?/models", "models", "gemini"),
    ("POST", "/upload/v1beta/files", "upload", "gemini"),
    ("GET", f"/v1beta/files/{_ID}", "file", "gemini"),
    ("DELETE", f"/v1beta/files/{_ID}", "delete_file", "gemini"),
    ("GET", f"/download/v1beta/files/{_ID}:download", "content", "gemini"),
    ("POST", f"/v1beta/models/{_MODEL}:batchGenerateContent", "create", "gemini"),
    ("GET", "/v1beta/batches", "batches", "gemini"),
    ("GET", f"/v1beta/batches/{_ID}", "batch", "gemini"),
    ("POST", f"/v1beta/batches/{_ID}:cancel", "cancel", "gemini"),
)
_TABLES: Mapping[Wire, tuple[tuple[str, str, Kind, Api], ...]] = {
    "chat": _CHAT, "openai": _OPENAI, "anthropic": _ANTHROPIC, "gemini": _GEMINI, "mistral": _MISTRAL,
}  # fmt: skip


def find_operation(wire: Wire, method: str, target: str) -> Operation | None:
    """The operation that a request means; None when it is none of the allowed.

    `target` is the raw path and query behind the provider's name, with its leading slash, as it came in. OpenAI's kind
    of address has `/v1` in front of it, which belongs to the base URL.
    """
    path, _, rest = target.partition("?")
    if not path.startswith("/") or _PLAIN.fullmatch(path[1:]) is None or "/.." in path or "/./" in path:
        return None
    if wire in ("openai", "chat", "mistral"):
        path = path.removeprefix("/v1")
    for allowed, pattern, kind, api in _TABLES[wire]:
        match = re.fullmatch(pattern, path) if method == allowed else None
        if match is not None:
            query = _query(rest, kind, path, _PAGES[wire])
            return (
                None if query is None else Operation(kind, api, path, match[1] if match.groups() else "", query)
            )
    return None


def _query(text: str, kind: Kind, path: str, pages: frozenset[str]) -> Mapping[str, str] | None:
    """The query of a request; None when it has anything but what its operation knows. A key is never in it."""
    query: dict[str, str] = {}
    for part in text.split("&") if text else ():
        name, _, value = part.partition("=")
        is_page = kind in ("files", "batches", "models") and name in pages
        is_media = kind == "content" and (name, value) == ("alt", "media") and path.endswith(":download")
        streams = (
            kind == "call" and name == "alt" and value == "sse" and path.endswith(":streamGenerateContent")
        )
        if not (is_page or is_media or streams) or name in query or _QUERY_VALUE.fullmatch(value) is None:
            return None
        query[name] = value
    if path.endswith(":streamGenerateContent") and "alt" not in query:
        return None  # the other form is one JSON array, of which nothing is known until its end
    return query
