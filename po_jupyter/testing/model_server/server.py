"""A real loopback HTTP server that answers as models' servers do, programmable and very cheap.

It speaks `/v1/chat/completions`, `/v1/responses`, `/v1/messages` and `/v1/embeddings`, and Gemini's `:generateContent`,
`:streamGenerateContent`, `:embedContent` and `:batchEmbedContents`; `base_url` includes `/v1`, `root_url` (for
Anthropic and Gemini) does not.

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

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from po_jupyter.platform.source_root import SOURCE_ROOT
from po_jupyter.testing.model_server.connection import ConnectionPool
from po_jupyter.testing.model_server.request_log import RequestLog
from po_jupyter.testing.model_server.wire import (
    Answer,
    Answering,
    Recorded,
    Reply,
    as_reply,
    paid_twice,
    read_log,
)

__all__ = ["Answer", "ModelServer", "Recorded", "Reply", "paid_twice", "read_log"]


class ModelServer:
    """A model server in a thread of this process, or in a process of its own. See the module."""

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
        keep: bool = True,
    ) -> None:
        """`key` None accepts every key; `latency` is in seconds; `port` 0 is any free one. Without `keep` the requests
        are in the file `log` alone, for a load of any length."""
        if process and (replies or callable(reply)):
            raise ValueError("a server in a process of its own takes one fixed reply")
        self.reply = reply
        self.latency = latency
        self.key = key or "test-key"
        self._key = key
        self._script = list(replies)
        self._script_lock = threading.Lock()
        self._log_path = Path(log) if log is not None else None
        self._log = RequestLog(self._log_path, keep=keep)
        self._process = process
        self._port = port
        self._child: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: ConnectionPool | None = None

    # -- life ---------------------------------------------------------------------------------------
    def start(self) -> ModelServer:
        """Listen; `base_url` is known from here on."""
        if self._process:
            self._start_child()
            return self
        self._log.open()
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
        self._log.close()

    def __enter__(self) -> ModelServer:
        """Start it."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    @property
    def port(self) -> int:
        """The port: as configured, or one that the system chose."""
        return self._port

    @property
    def base_url(self) -> str:
        """The value for `OPENAI_BASE_URL`: it includes `/v1`."""
        return f"{self.root_url}/v1"

    @property
    def root_url(self) -> str:
        """The value for `ANTHROPIC_BASE_URL` and `GEMINI_BASE_URL`."""
        return f"http://127.0.0.1:{self._port}"

    # -- what tests look at -----------------------------------------------------------------------------
    @property
    def requests(self) -> list[Recorded]:
        """Every chat request so far, in order of arrival."""
        if self._process:
            return read_log(self._log_path) if self._log_path else []
        return self._log.requests()

    def counts(self) -> Counter[str]:
        """The number of arrivals of each body, by its hash."""
        return Counter(r.hash for r in self.requests)

    def duplicates(self) -> dict[str, int]:
        """The bodies that arrived more than once, with their counts."""
        return {key: n for key, n in self.counts().items() if n > 1}

    def paid_twice(self) -> list[Recorded]:
        """Requests whose body had been answered in full before they arrived."""
        return paid_twice(self.requests)

    def wait_for(self, count: int, *, answered: bool = False, timeout: float = 10.0) -> list[Recorded]:
        """Block until `count` requests have arrived (or were answered). Raises TimeoutError."""
        return self._log.wait_for(count, answered=answered, timeout=timeout)

    def forget(self) -> None:
        """Forget the requests so far, and replies that are still queued: another test begins."""
        self._log.clear()
        with self._script_lock:
            self._script.clear()

    # -- what tests change while it runs ------------------------------------------------------------------
    def enqueue(self, *replies: Answer) -> None:
        """Append replies that are given once, in order, before `reply` applies again."""
        with self._script_lock:
            self._script.extend(replies)

    def hold(self) -> None:
        """Answer nothing from now on; requests still arrive and are recorded."""
        self._on_loop(lambda gate: gate.clear())

    def release(self) -> None:
        """Answer the requests that wait, and all after them."""
        self._on_loop(lambda gate: gate.set())

    def open_connections(self) -> int:
        """The number of connections that clients keep open."""
        return len(self._pool.connections) if self._pool is not None else 0

    def _on_loop(self, act: Callable[[asyncio.Event], None]) -> None:
        loop, pool, done = self._loop, self._pool, threading.Event()
        if loop is None or pool is None:
            raise RuntimeError("the server is not started, or runs in a process of its own")

        def run() -> None:
            act(pool.gate)
            done.set()

        loop.call_soon_threadsafe(run)
        done.wait(5)

    # -- inside -----------------------------------------------------------------------------------------
    def _run(self, started: threading.Event) -> None:
        loop = asyncio.new_event_loop()
        try:
            self._pool = pool = ConnectionPool(self._log, self._choose)
            server = loop.run_until_complete(
                loop.create_server(pool.connect, "127.0.0.1", self._port, backlog=2048)
            )
            self._port = server.sockets[0].getsockname()[1]
            self._loop = loop
            started.set()
            loop.run_forever()
            server.close()
            loop.run_until_complete(pool.close())
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
            if isinstance(self.reply, Reply):
                raise ValueError("a server in a process of its own takes a text or a dict as its reply")
            command += ["--reply", self.reply if isinstance(self.reply, str) else json.dumps(self.reply)]
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

    def _choose(self, request: Recorded) -> tuple[Reply, float]:
        """The reply to a request, and the seconds before its first byte."""
        if self._key is not None and self._key not in _keys(request.headers):
            return Reply(status=401, error="Incorrect API key provided"), 0.0
        with self._script_lock:
            answer: Answering | None = self._script.pop(0) if self._script else self.reply
        if callable(answer):
            answer = answer(request.body, request.n)
        reply = Reply() if answer is None else as_reply(answer)
        return reply, self.latency if reply.latency is None else reply.latency


def _keys(headers: dict[str, str]) -> set[str | None]:
    """The keys that a request shows, wherever an API wants them."""
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return {bearer, headers.get("x-api-key"), headers.get("x-goog-api-key")}
