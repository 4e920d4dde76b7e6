"""Cassettes: files of recorded HTTP exchanges, as VCR, pydantic-ai and langchain write them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from po_jupyter.model.values.json import JsonObject

_ENDINGS = (".yaml", ".yml", ".yaml.gz", ".yml.gz")
_LARGEST = 20_000_000  # bytes of a file, unpacked
_OF_THE_TRANSPORT = frozenset(
    ("content-encoding", "content-length", "transfer-encoding", "connection", "date", "server")
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded request and its response. `source` is the file and the exchange's number in it, from 1."""

    source: str
    url: str
    request: JsonObject
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def host(self) -> str:
        """The host that was asked, "" when the recording leaves it out."""
        return urlsplit(self.url).hostname or ""

    @property
    def response(self) -> bytes:
        """The body as the product asks for it: the chunks of a JSON array that Gemini streams come as events."""
        if ":stream" not in self.url or not self.body.lstrip().startswith(b"["):
            return self.body
        return b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in json.loads(self.body))

    @property
    def in_frames(self) -> bool:
        """True when the response is one of Amazon's event streams."""
        return "vnd.amazon.eventstream" in self.headers.get("content-type", "")

    @property
    def streamed(self) -> bool:
        """True when the response is a stream of events."""
        if self.in_frames:
            return True
        start = self.response.lstrip()[:6]
        return start.startswith((b"data:", b"event:", b": "))


def read_exchanges(folder: Path) -> Iterator[Exchange]:
    """The exchanges of every cassette below `folder` whose request is JSON, in the order of their names."""
    for path in sorted(p for p in folder.rglob("*") if p.name.endswith(_ENDINGS) and p.is_file()):
        for number, (request, response) in enumerate(_pairs(path), 1):
            body = _json_of(request)
            if body is None:
                continue
            status = response.get("status") or response.get("status_code") or 0
            yield Exchange(
                f"{path.relative_to(folder)}#{number}",
                str(request.get("uri") or request.get("url") or ""),
                body,
                int(status.get("code", 0) if isinstance(status, Mapping) else status),
                {
                    str(k).lower(): str(v[0] if isinstance(v, list) and v else v)
                    for k, v in (response.get("headers") or {}).items()
                    if str(k).lower() not in _OF_THE_TRANSPORT and v
                },
                _bytes_of(response),
            )


def _pairs(path: Path) -> list[tuple[JsonObject, JsonObject]]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    text = path.read_bytes()
    if path.suffix == ".gz":
        text = zlib.decompressobj(31).decompress(text, _LARGEST)
    if len(text) >= _LARGEST:
        return []
    try:
        cassette: Any = YAML(typ="safe").load(text)
    except (YAMLError, UnicodeDecodeError):
        return []
    if not isinstance(cassette, Mapping):
        return []
    if "interactions" in cassette:
        entries = [e for e in cassette["interactions"] or () if isinstance(e, Mapping)]
        pairs = [(e.get("request"), e.get("response")) for e in entries]
    else:
        pairs = list(zip(cassette.get("requests") or (), cassette.get("responses") or (), strict=False))
    return [(a, b) for a, b in pairs if isinstance(a, dict) and isinstance(b, dict)]


def _json_of(request: Mapping[str, Any]) -> JsonObject | None:
    body = request.get("parsed_body", request.get("body"))
    if isinstance(body, Mapping) and "string" in body:
        body = body["string"]
    if isinstance(body, str | bytes):
        try:
            body = json.loads(body)
        except ValueError:
            return None
    return dict(body) if isinstance(body, Mapping) else None


def _bytes_of(response: Mapping[str, Any]) -> bytes:
    if "parsed_body" in response:
        return json.dumps(response["parsed_body"], ensure_ascii=False).encode()
    body = response.get("body", response.get("content", ""))
    if isinstance(body, Mapping):
        body = body.get("string", body.get("base64_string", ""))
    data = body.encode() if isinstance(body, str) else bytes(body or b"")
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
