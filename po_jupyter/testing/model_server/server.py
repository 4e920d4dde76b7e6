"""A real loopback HTTP server that answers as models' servers do, programmable and very cheap.

It speaks `/v1/chat/completions`, `/v1/responses`, `/v1/messages` and Gemini's `:generateContent` and
`:streamGenerateContent`; `base_url` includes `/v1`, `root_url` (for Anthropic and Gemini) does not.

    with ModelServer(latency=0.05) as server:                  # a thread of this process
        environment = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": server.key}
        ...
        server.wait_for(3)                                     # until three requests have arrived
        assert server.duplicates() == {}

    with ModelServer(process=True, log="calls.jsonl") as server: ...    # a process of its own

What it answers: `replies` in order while there are any, then `reply` (a text, a Reply, a dict answered as
JSON text, or a function `(body, n) -> one of these`), by default `echo: ` and the last message, or a value that
fits the request's JSON Schema. Faults are replies too: `Reply(status=429, headers={"retry-after": "2"})`,
`Reply(cut=40)`.

`log` is a JSONL file to which each request and each finished answer is appended at once, so that a test can
look across restarts of the server: `{"event": "request"|"answer", "n", "at", "hash", "body"?}`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from po_jupyter.platform.source_root import SOURCE_ROOT
from po_jupyter.testing.model_server.apis import api_of, stream, streams, whole
from po_jupyter.testing.model_server.wire import (
    Answer,
    Answering,
    Recorded,
    Reply,
    dumps,
    head,
    paid_twice,
    read_log,
)

__all__ = ["Answer", "ModelServer", "Recorded", "Reply", "paid_twice", "read_log"]

_MAX_BODY = 64 * 1024 * 1024


class ModelServer:
    """See the module. `key` of None accepts every key; `hold()` keeps answers back until `release()`."""

    def __init__(
        self,
        reply: Answering | None = None,
        *,
        replies: Sequence[Answer] = (),
        latency: float = 0.0,
        key: str | None = None,
        log: str | os.PathLike[str] | None = None,
        process: bool = False,
        port: int = 0,
    ) -> None:
        if process and (replies or callable(reply)):
            raise ValueError("a server in a process of its own takes one fixed reply")
        self.reply = reply
        self.latency = latency
        self.key = key or "test-key"
        self._key = key
        self._script = list(replies)
        self._log_path = Path(log) if log is not None else None
        self._log_fd: int | None = None
        self._process = process
        self._port = port
        self._child: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._recorded: list[Recorded] = []
        self._changed = threading.Condition()
        self._gate: asyncio.Event | None = None
        self._connections: set[_Connection] = set()
        self._background: set[asyncio.Task[None]] = set()

    # -- life ---------------------------------------------------------------------------------------
    def start(self) -> ModelServer:
        """Listen; `base_url` is known from here on."""
        if self._process:
            self._start_child()
            return self
        if self._log_path is not None:
            self._log_fd = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="model-server", daemon=True)
        self._thread.start()
        if not started.wait(10) or self._loop is None:
            raise RuntimeError("the model server did not start")
        return self

    def stop(self) -> None:
        """Close every connection and wait for the end."""
        if self._child is not None:
            assert self._child.stdin is not None and self._child.stdout is not None
            self._child.stdin.close()
            self._child.wait(10)
            self._child.stdout.close()
            self._child = None
        if self._thread is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._thread = None
        if self._log_fd is not None:
            os.close(self._log_fd)
            self._log_fd = None

    def __enter__(self) -> ModelServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port that the system gave, or the one that was asked for."""
        return self._port

    @property
    def base_url(self) -> str:
        """What `OPENAI_BASE_URL` wants: it includes `/v1`."""
        return f"{self.root_url}/v1"

    @property
    def root_url(self) -> str:
        """What `ANTHROPIC_BASE_URL` and `GEMINI_BASE_URL` want."""
        return f"http://127.0.0.1:{self._port}"

    # -- what tests look at -----------------------------------------------------------------------------
    @property
    def requests(self) -> list[Recorded]:
        """Every chat request so far, in order of arrival."""
        if self._process:
            return read_log(self._log_path) if self._log_path else []
        with self._changed:
            return list(self._recorded)

    def counts(self) -> Counter[str]:
        """How often each body (by hash) arrived."""
        return Counter(r.hash for r in self.requests)

    def duplicates(self) -> dict[str, int]:
        """The bodies that arrived more than once, with their counts."""
        return {key: n for key, n in self.counts().items() if n > 1}

    def paid_twice(self) -> list[Recorded]:
        """Requests whose body had been answered in full before they arrived."""
        return paid_twice(self.requests)

    def wait_for(self, count: int, *, answered: bool = False, timeout: float = 10.0) -> list[Recorded]:
        """Block until `count` requests have arrived (or were answered). Raises TimeoutError."""

        def enough() -> bool:
            return sum(r.answered or not answered for r in self._recorded) >= count

        with self._changed:
            if not self._changed.wait_for(enough, timeout):
                raise TimeoutError(f"only {len(self._recorded)} of {count} requests arrived within {timeout} s")
            return list(self._recorded)

    # -- what tests change while it runs ------------------------------------------------------------------
    def script(self, *replies: Answer) -> None:
        """Append replies that are given once, in order, before `reply` applies again."""
        with self._changed:
            self._script.extend(replies)

    def hold(self) -> None:
        """Answer nothing from now on; requests still arrive and are recorded."""
        self._on_loop(lambda gate: gate.clear())

    def release(self) -> None:
        """Answer what was held back, and everything after it."""
        self._on_loop(lambda gate: gate.set())

    def _on_loop(self, act: Callable[[asyncio.Event], None]) -> None:
        loop, gate, done = self._loop, self._gate, threading.Event()
        if loop is None or gate is None:
            raise RuntimeError("the server is not started, or runs in a process of its own")

        def run() -> None:
            act(gate)
            done.set()

        loop.call_soon_threadsafe(run)
        done.wait(5)

    # -- inside -----------------------------------------------------------------------------------------
    def _run(self, started: threading.Event) -> None:
        loop = asyncio.new_event_loop()
        try:
            self._gate = asyncio.Event()
            self._gate.set()
            server = loop.run_until_complete(
                loop.create_server(lambda: _Connection(self, loop), "127.0.0.1", self._port, backlog=2048)
            )
            self._port = server.sockets[0].getsockname()[1]
            self._loop = loop
            started.set()
            loop.run_forever()
            server.close()
            for connection in list(self._connections):
                connection.abort()
            for task in list(self._background):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            if self._background:
                loop.run_until_complete(asyncio.wait(self._background))
            loop.run_until_complete(asyncio.sleep(0))
        finally:
            started.set()
            loop.close()

    def _start_child(self) -> None:
        command = [sys.executable, "-m", "po_jupyter.testing.model_server", "--port", str(self._port)]
        command += ["--latency", str(self.latency)]
        if self._log_path is not None:
            command += ["--log", os.fspath(self._log_path)]
        if self._key is not None:
            command += ["--key", self._key]
        if self.reply is not None:
            command += [
                "--reply",
                self.reply if isinstance(self.reply, str) else json.dumps(_plain(self.reply)),
            ]
        # The child finds the package where this process found it, also from a checkout and another directory.
        path = os.pathsep.join(filter(None, [SOURCE_ROOT, os.environ.get("PYTHONPATH", "")]))
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise RuntimeError("the model server's process ended at once")
        self._port = int(json.loads(line)["port"])

    def _record(self, path: str, headers: dict[str, str], raw: bytes) -> Recorded:
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = {"unreadable": raw[:1000].decode(errors="replace")}
        digest = hashlib.sha256(raw).hexdigest()[:16]
        with self._changed:
            request = Recorded(len(self._recorded) + 1, time.time(), path, headers, body, digest)
            self._recorded.append(request)
            self._changed.notify_all()
        self._write_log("request", request)
        return request

    def _finished(self, request: Recorded) -> None:
        self._write_log("answer", request)
        with self._changed:
            request.answered_at = time.time()
            self._changed.notify_all()

    def _write_log(self, event: str, request: Recorded) -> None:
        if self._log_fd is None:
            return
        line: dict[str, Any] = {"event": event, "n": request.n, "at": time.time(), "hash": request.hash}
        if event == "request":
            line |= {"path": request.path, "body": request.body}
        os.write(self._log_fd, json.dumps(line).encode() + b"\n")

    def _choose(self, request: Recorded) -> Reply:
        if self._key is not None and self._key not in _keys(request.headers):
            return Reply(status=401, error="Incorrect API key provided", latency=0.0)
        with self._changed:
            answer: Answering | None = self._script.pop(0) if self._script else self.reply
        if callable(answer):
            answer = answer(request.body, request.n)
        if answer is None:
            return Reply()
        if isinstance(answer, str):
            return Reply(answer)
        return answer if isinstance(answer, Reply) else Reply(json.dumps(answer))


class _Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time (no pipelining: no client of ours does it)."""

    def __init__(self, server: ModelServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._current: Recorded | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server._connections.discard(self)
        if self._current is not None and not self._current.answered:
            self._current.aborted = True
        self._transport = None

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
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
            found = {"/v1/models": {"object": "list", "data": [{"id": "fake"}]}, "/health": {}}.get(path)
            self._send(404 if found is None else 200, dumps(found or {"error": {"message": "not found"}}))
            return
        server = self._server
        self._current = request = server._record(path, headers, raw)
        reply = server._choose(request)
        latency = server.latency if reply.latency is None else reply.latency
        simple = reply.status == 200 and reply.cut is None and reply.body is None and not streams(request)
        if simple and server._gate is not None and server._gate.is_set() and not reply.stall:
            if latency:
                self._loop.call_later(latency, self._answer, request, reply)
            else:
                self._answer(request, reply)
            return
        task = self._loop.create_task(self._slowly(request, reply, latency))
        server._background.add(task)
        task.add_done_callback(server._background.discard)

    def _answer(self, request: Recorded, reply: Reply) -> None:
        if self._transport is None:
            return
        headers = {"x-request-id": f"req-{request.n}", **reply.headers}
        self._send(200, dumps(whole(request, reply)), headers)
        self._server._finished(request)

    async def _slowly(self, request: Recorded, reply: Reply, latency: float) -> None:
        if latency:
            await asyncio.sleep(latency)
        if self._server._gate is not None:
            await self._server._gate.wait()
        headers = {"x-request-id": f"req-{request.n}", **reply.headers}
        if reply.body is not None:
            headers = dict(reply.headers)  # a scripted body is scripted whole
            parts = [
                head(reply.status, headers, len(reply.body), reply.content_type or "application/json"),
                reply.body,
            ]
        elif reply.status >= 300:
            body = dumps({"error": {"message": reply.error, "type": "fault", "code": None}})
            parts = [head(reply.status, headers, len(body)), body]
        elif streams(request):
            parts = stream(request, reply, headers)
        else:
            body = dumps(whole(request, reply))
            parts = [head(reply.status, headers, len(body)), body]
        left = reply.cut
        for i, part in enumerate(parts):
            if self._transport is None:
                return
            if left is not None and left <= len(part):
                self._transport.write(part[:left])
                self._transport.close()
                return
            left = None if left is None else left - len(part)
            self._transport.write(part)
            if i < len(parts) - 1 and (pause := reply.gap + (reply.stall if i == 1 else 0.0)):
                await asyncio.sleep(pause)
        self._server._finished(request)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        if self._transport is not None:
            self._transport.write(head(status, headers or {}, len(body)) + body)


def _keys(headers: Mapping[str, str]) -> set[str | None]:
    """The keys that a request shows, wherever an API wants them."""
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return {bearer, headers.get("x-api-key"), headers.get("x-goog-api-key")}


def _plain(reply: object) -> Any:
    if isinstance(reply, Reply):
        raise ValueError("a server in a process of its own takes a text or a dict as its reply")
    return reply


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m po_jupyter.testing.model_server`: print `{"port", "base_url"}`, serve until stdin closes."""
    parser = argparse.ArgumentParser(prog="model_server", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--reply", help="a fixed answer instead of the echo")
    parser.add_argument("--key", help="the only API key to accept")
    parser.add_argument("--log", help="a JSONL file of requests and answers, appended to")
    options = parser.parse_args(argv)
    with ModelServer(
        options.reply, latency=options.latency, key=options.key, log=options.log, port=options.port
    ) as server:
        print(json.dumps({"port": server.port, "base_url": server.base_url}), flush=True)
        sys.stdin.read()
    return 0
