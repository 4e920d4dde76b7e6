"""Uploads of the inputs of batches: the file in what a user sends, and the form in which it goes to the vendor."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import web

from po_jupyter.hub.config import Wire
from po_jupyter.hub.problems import invalid
from po_jupyter.hub.wires.bodies import too_large

_SECONDS = 900.0
_LONGEST_DESCRIPTION = 10_000  # bytes
_BOUNDARY = "po-gateway-batch-5c29e07a"  # JSON lines never begin with dashes


async def read_upload(request: web.BaseRequest, wire: Wire, most: int) -> bytes:
    """The file of an upload for a batch, of `most` bytes at most. Raises GatewayProblem."""
    related = wire == "gemini"
    kind = "multipart/related" if related else "multipart/form-data"
    if not request.headers.get("Content-Type", "").startswith(kind):
        raise invalid(f"an upload is {kind}")
    parts: dict[str, bytes] = {}
    try:
        reader = aiohttp.MultipartReader(request.headers, request.content)
        async with asyncio.timeout(_SECONDS):
            while (part := await reader.next()) is not None:
                name = _next_name(parts) if related else getattr(part, "name", None)
                if not isinstance(part, aiohttp.BodyPartReader) or name not in ("purpose", "file"):
                    raise invalid(
                        f"an upload has {'two parts' if related else 'the fields `purpose` and `file`'}"
                    )
                if name in parts:
                    raise invalid(f"`{name}` is there twice")
                parts[name] = await _read_part(part, most if name == "file" else _LONGEST_DESCRIPTION)
    except TimeoutError:
        raise invalid("the upload did not arrive in time", 408) from None
    except (ValueError, aiohttp.ClientError, ConnectionError, RuntimeError, AssertionError):
        raise invalid(f"the upload is no {kind}, or broke off") from None
    if "file" not in parts or not (related or parts.get("purpose", b"").strip() == b"batch"):
        raise invalid("only files with the purpose `batch` are passed on")
    return parts["file"]


def _next_name(parts: dict[str, bytes]) -> str | None:
    """What a part of Gemini's is: the first describes the file, of which nothing is passed on, the second is it."""
    return ("purpose", "file", None)[len(parts)]


async def _read_part(part: aiohttp.BodyPartReader, most: int) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(65_536):
        data += chunk
        if len(data) > most:
            raise too_large(most)
    return bytes(data)


def upload_of(wire: Wire, data: bytes) -> tuple[object, str, dict[str, str]]:
    """(body, content type, further headers) of the upload of JSON lines to the vendor; "": the body knows its type."""
    if wire != "gemini":
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", data, filename="batch.jsonl", content_type="application/jsonl")
        return form(), "", {}
    head = (
        f"--{_BOUNDARY}\r\nContent-Type: application/json; charset=utf-8\r\n\r\n"
        '{"file": {"displayName": "batch.jsonl", "mimeType": "application/jsonl"}}\r\n'
        f"--{_BOUNDARY}\r\nContent-Type: application/jsonl\r\n\r\n"
    ).encode()
    body = b"".join((head, data, f"\r\n--{_BOUNDARY}--\r\n".encode()))
    return body, f"multipart/related; boundary={_BOUNDARY}", {"X-Goog-Upload-Protocol": "multipart"}
