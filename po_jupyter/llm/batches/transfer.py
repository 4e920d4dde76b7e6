"""Files of JSON lines on their way to a provider and back: never as a whole in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from po_jupyter.errors import ModelUnavailable
from po_jupyter.llm.wire.bodies import Answer, lines, read_error
from po_jupyter.llm.wire.errors import fault, redacted
from po_jupyter.llm.wire.exchange import Endpoint
from po_jupyter.llm.wire.http import Http, Target

_PIECE = 1 << 20
_SLOWEST = 250_000  # bytes a second: a larger file may take longer
_LATER = 1 << 20  # bytes of results written at once


class FileBody:
    """A body that is a file with something around it; it can be gone through again.

    The file's line ends become `joint`.
    """

    def __init__(self, path: Path, head: bytes, tail: bytes, *, joint: bytes = b"\n") -> None:
        self._path, self._head, self._tail, self._joint = path, head, tail, joint
        self.size = len(head) + path.stat().st_size + len(tail)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._head
        file = await asyncio.to_thread(self._path.open, "rb")
        try:
            while piece := await asyncio.to_thread(file.read, _PIECE):
                yield piece if self._joint == b"\n" else piece.replace(b"\n", self._joint)
        finally:
            file.close()
        yield self._tail


class Api:
    """One provider's base URL, key and connections."""

    def __init__(
        self,
        endpoint: Endpoint,
        http: Http,
        *,
        name: str,
        key_env: str,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        key_header: str = "authorization",
    ) -> None:
        self.name, self.key, self.key_env, self.http = name, endpoint.key, key_env, http
        self._base = endpoint.base_url.rstrip("/")
        self._headers = dict(headers or {})
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

    async def ask(
        self, method: str, path: str, body: bytes | FileBody = b"", headers: Mapping[str, str] | None = None
    ) -> bytes:
        """The body of a good answer. Raises a ModelError."""
        size = body.size if isinstance(body, FileBody) else len(body)
        more = dict(headers or {})
        if isinstance(body, FileBody):
            more["content-length"] = str(size)
        target = self._target(path, more)
        answer = await self.http.fetch(
            target, method=method, body=body, seconds=self._timeout + size / _SLOWEST
        )
        if answer.status != 200:
            raise self.fault(answer)
        return answer.body

    async def save(self, paths: Sequence[str], to: Path) -> None:
        """Write the lines found at some paths to one file. Raises a ModelError, or OSError."""
        file = await asyncio.to_thread(to.open, "wb")
        with file:
            for path in paths:
                target = self._target(path)
                async with self.http.download(target, seconds=self._timeout) as response:
                    if response.status_code != 200:
                        raise self.fault(await read_error(response))
                    held: list[bytes] = []
                    size = 0
                    async for line in lines(response):
                        held += (line, b"\n")
                        size += len(line) + 1
                        if size > _LATER:
                            await asyncio.to_thread(file.write, b"".join(held))
                            held, size = [], 0
                    await asyncio.to_thread(file.write, b"".join(held))

    async def first_line(self, path: str) -> bytes:
        """The first line found at a path, b"" when there is none. Raises a ModelError."""
        target = self._target(path)
        async with self.http.download(target, seconds=self._timeout) as response:
            if response.status_code != 200:
                raise self.fault(await read_error(response))
            async for line in lines(response):
                if line.strip():
                    return line
        return b""

    def fault(self, answer: Answer) -> Exception:
        """The error for a status that is not 200."""
        return fault(answer, provider=self.name, model="batches", key=self.key, key_env=self.key_env)

    def shapeless(self, what: str) -> ModelUnavailable:
        """The error for an answer that is not what the reference describes."""
        return ModelUnavailable(f"{self.name}: {what}", details={"provider": self.name, "model": "batches"})

    def clean(self, text: object) -> str:
        """A text of the provider's for people: bounded, in one line, without the key."""
        return " ".join(redacted(str(text), self.key).split())[:500]
