"""Transfer of JSON lines to and from a batch API: files stream both ways and are never whole in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from po_jupyter.errors import ModelError, ModelRefused, ModelUnavailable
from po_jupyter.llm.chat import ChatResponse
from po_jupyter.llm.specs import ProviderEndpoint
from po_jupyter.llm.wire.bodies import HttpResponse, json_lines, read_error
from po_jupyter.llm.wire.errors import error_from_response, redact
from po_jupyter.llm.wire.http import Http, Target
from po_jupyter.llm.wire.json_fields import as_text
from po_jupyter.llm.wire.response_reader import ResponseReader

_PIECE = 1 << 20
_SLOWEST = 250_000  # bytes a second: a larger file may take longer
_WRITE_AT = 1 << 20  # bytes of results written at once
_NOTHING_TO_CANCEL = frozenset(
    {400, 404, 409, 422}
)  # statuses, of one vendor or another, of a batch that has ended


class FileBody:
    """A request body that is a file between a head and a tail; it can be iterated again.

    The file's line ends become `joint`.
    """

    def __init__(self, path: Path, head: bytes, tail: bytes, *, joint: bytes = b"\n") -> None:
        """`size` is taken from the file as it is now."""
        self._path, self._head, self._tail, self._joint = path, head, tail, joint
        self.size = len(head) + path.stat().st_size + len(tail)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body in pieces of at most 1 MB."""
        yield self._head
        file = await asyncio.to_thread(self._path.open, "rb")
        try:
            while piece := await asyncio.to_thread(file.read, _PIECE):
                yield piece if self._joint == b"\n" else piece.replace(b"\n", self._joint)
        finally:
            file.close()
        yield self._tail


class BatchTransport:
    """HTTP to one provider's batch API: its base URL, key and connections."""

    def __init__(
        self,
        endpoint: ProviderEndpoint,
        http: Http,
        *,
        name: str,
        key_env: str,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        key_header: str = "authorization",
    ) -> None:
        """`timeout` is in seconds, for a request without a file."""
        self.name, self.key, self.key_env, self.http = name, endpoint.key, key_env, http
        self._base = endpoint.base_url.rstrip("/")
        self._headers = {**endpoint.headers, **(headers or {})}
        self._key_header = key_header
        self._timeout = timeout

    def _target(self, path: str, headers: Mapping[str, str] | None = None) -> Target:
        return Target(
            self._base + path,
            key=self.key,
            name=self.name,
            headers={**self._headers, **(headers or {})},
            key_header=self._key_header,
        )

    async def request(
        self, method: str, path: str, body: bytes | FileBody = b"", headers: Mapping[str, str] | None = None
    ) -> bytes:
        """The body of a response with status 200. Raises a ModelError."""
        size = body.size if isinstance(body, FileBody) else len(body)
        more = dict(headers or {})
        if isinstance(body, FileBody):
            more["content-length"] = str(size)
        response = await self.http.fetch(
            self._target(path, more), method=method, body=body, seconds=self._timeout + size / _SLOWEST
        )
        if response.status != 200:
            raise self.error_from(response)
        return response.body

    async def cancel(self, path: str) -> None:
        """Cancel a batch, or the like, at the path that does it; one that has ended, or is being cancelled, is left as
        it is, and its status says which."""
        try:
            await self.request("POST", path)
        except (ModelRefused, ModelUnavailable) as error:  # of a 409 the latter
            if error.http_status not in _NOTHING_TO_CANCEL:
                raise

    async def download_lines(self, paths: Sequence[str], to: Path) -> None:
        """Write the lines at some paths to one file. Raises a ModelError, or OSError."""
        file = await asyncio.to_thread(to.open, "wb")
        with file:
            for path in paths:
                target = self._target(path)
                async with self.http.download(target, seconds=self._timeout) as response:
                    if response.status_code != 200:
                        raise self.error_from(await read_error(response))
                    unwritten: list[bytes] = []
                    size = 0
                    async for line in json_lines(response):
                        unwritten += (line, b"\n")
                        size += len(line) + 1
                        if size > _WRITE_AT:
                            await asyncio.to_thread(file.write, b"".join(unwritten))
                            unwritten, size = [], 0
                    await asyncio.to_thread(file.write, b"".join(unwritten))

    async def first_line(self, path: str) -> bytes:
        """The first line at a path that is not empty, b"" when there is none. Raises a ModelError."""
        target = self._target(path)
        async with self.http.download(target, seconds=self._timeout) as response:
            if response.status_code != 200:
                raise self.error_from(await read_error(response))
            async for line in json_lines(response):
                if line.strip():
                    return line
        return b""

    def error_from(self, response: HttpResponse) -> ModelError:
        """The error for a response whose status is not 200."""
        return error_from_response(
            response, provider=self.name, model="batches", key=self.key, key_env=self.key_env
        )

    def malformed(self, problem: str) -> ModelUnavailable:
        """The error for an answer that is not what the reference describes."""
        return ModelUnavailable(f"{self.name}: {problem}", details={"provider": self.name, "model": "batches"})

    def one_line(self, text: object) -> str:
        """A text of the provider's for people: at most 500 characters in one line, without the key."""
        return " ".join(redact(str(text), self.key).split())[:500]


def header_text(value: object) -> str:
    """A provider's string as the value of a header: ASCII."""
    return as_text(value).encode("ascii", "ignore").decode()


def read_batched(reader: ResponseReader, response: HttpResponse) -> ChatResponse:
    """The chat response in a line of a batch's results, without its cost. Raises a ModelError."""
    try:
        answer = reader.read_response(response)
    except ModelError as error:
        reader.annotate(error)
        raise
    return replace(answer, seconds=0.0)
