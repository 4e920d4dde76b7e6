"""HTTP/1.1 of the model server: the connections of its loop, and how an answer is written to one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from po_jupyter.testing.model_server.apis import api_of, stream, streams, whole
from po_jupyter.testing.model_server.request_log import RequestLog
from po_jupyter.testing.model_server.wire import Recorded, Reply, dumps, head

_MAX_BODY = 64 * 1024 * 1024
_FIXED_PAGES: Mapping[str, object] = {"/v1/models": {"object": "list", "data": [{"id": "fake"}]}, "/health": {}}

ChooseReply = Callable[[Recorded], tuple[Reply, float]]  # with the seconds before its first byte


class ConnectionPool:
    """The open connections of one loop, the answers that take time, and the gate that holds answers back."""

    def __init__(self, log: RequestLog, choose_reply: ChooseReply) -> None:
        """Made before the loop runs. Answers are written while `gate` is set, as it is at first."""
        self.log = log
        self.choose_reply = choose_reply
        self.gate = asyncio.Event()
        self.gate.set()
        self.connections: set[ServerConnection] = set()
        self.answering: set[asyncio.Task[None]] = set()

    def connect(self) -> ServerConnection:
        """A new connection: the protocol factory of `loop.create_server`."""
        return ServerConnection(self)

    async def close(self) -> None:
        """Abort every connection and cancel every answer."""
        for connection in list(self.connections):
            connection.abort()
        for task in list(self.answering):
            task.cancel()
        await asyncio.sleep(0)
        if self.answering:
            await asyncio.wait(self.answering)
        await asyncio.sleep(0)


class ServerConnection(asyncio.Protocol):
    """One keep-alive connection, one request at a time (no pipelining: no client of ours does it)."""

    def __init__(self, pool: ConnectionPool) -> None:
        """Registered in the pool while it is open."""
        self._pool = pool
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._current: Recorded | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._pool.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`. A request without its whole answer is marked as aborted."""
        self._pool.connections.discard(self)
        if self._current is not None and not self._current.answered:
            self._current.aborted = True
        self._transport = None

    def abort(self) -> None:
        """Close at once, without what is still to be written."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`. Handles each request once its body is complete."""
        self._buffer += data
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", 0))
            if length > _MAX_BODY or "chunked" in headers.get("transfer-encoding", ""):
                self.abort()
                return
            if len(self._buffer) < end + 4 + length:
                return
            raw = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            method, path, *_ = first.split(" ")
            self._handle(method, path, headers, raw)

    def _handle(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> None:
        path = path.partition("?")[0]
        if method != "POST" or api_of(path) is None:
            page = _FIXED_PAGES.get(path)
            status, content = (404, {"error": {"message": "not found"}}) if page is None else (200, page)
            self._write(status, dumps(content))
            return
        pool = self._pool
        self._current = request = pool.log.add(path, headers, raw)
        reply, latency = pool.choose_reply(request)
        plain = reply.status == 200 and reply.cut is None and reply.body is None and not reply.stall
        if plain and pool.gate.is_set() and not streams(request):
            # Without a task of its own: benchmarks ask thousands of times.
            if latency:
                asyncio.get_running_loop().call_later(latency, self._answer_plainly, request, reply)
            else:
                self._answer_plainly(request, reply)
            return
        task = asyncio.get_running_loop().create_task(self._answer(request, reply, latency))
        pool.answering.add(task)
        task.add_done_callback(pool.answering.discard)

    def _answer_plainly(self, request: Recorded, reply: Reply) -> None:
        if self._transport is not None:
            self._write(200, dumps(whole(request, reply)), _headers(request, reply))
            self._pool.log.mark_answered(request)

    async def _answer(self, request: Recorded, reply: Reply, latency: float) -> None:
        if latency:
            await asyncio.sleep(latency)
        await self._pool.gate.wait()
        parts = _parts(request, reply)
        remaining = reply.cut
        for i, part in enumerate(parts):
            if self._transport is None:
                return
            if remaining is not None and remaining <= len(part):
                self._transport.write(part[:remaining])
                self._transport.close()
                return
            remaining = None if remaining is None else remaining - len(part)
            self._transport.write(part)
            if i < len(parts) - 1 and (pause := reply.gap + (reply.stall if i == 1 else 0.0)):
                await asyncio.sleep(pause)
        self._pool.log.mark_answered(request)

    def _write(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        if self._transport is not None:
            self._transport.write(head(status, headers or {}, len(body)) + body)


def _headers(request: Recorded, reply: Reply) -> dict[str, str]:
    return {"x-request-id": f"req-{request.n}", **reply.headers}


def _parts(request: Recorded, reply: Reply) -> list[bytes]:
    """An answer in the pieces that are written one after the other: the head, then the body or its chunks."""
    if reply.body is not None:
        # A scripted body is scripted whole: no header is added.
        kind = reply.content_type or "application/json"
        return [head(reply.status, reply.headers, len(reply.body), kind), reply.body]
    headers = _headers(request, reply)
    if reply.status >= 300:
        body = dumps({"error": {"message": reply.error, "type": "fault", "code": None}})
    elif streams(request):
        return stream(request, reply, headers)
    else:
        body = dumps(whole(request, reply))
    return [head(reply.status, headers, len(body)), body]
