"""The record of the requests that a model server received, and its file."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from po_jupyter.model.values.json import JsonObject
from po_jupyter.platform import private_file
from po_jupyter.testing.model_server.wire import Recorded


class LogLine(TypedDict):
    """One line of the file; `path` and `body` are those of a request."""

    event: Literal["request", "answer"]
    n: int
    at: float
    hash: str
    path: NotRequired[str]
    body: NotRequired[JsonObject]


class RequestLog:
    """Requests in the order of arrival. Used by the server's thread and by tests in any other."""

    def __init__(self, path: Path | None = None, *, keep: bool = True) -> None:
        """`path` is a JSONL file to append to, or None. Without `keep` the file alone has the requests."""
        self._path = path
        self._keep = keep
        self._count = 0
        self._file: int | None = None
        self._requests: list[Recorded] = []
        self._changed = threading.Condition()

    def open(self) -> None:
        """Open the file, if there is one."""
        if self._path is not None:
            self._file = private_file.open_log(self._path)

    def close(self) -> None:
        """Close the file; the requests stay."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def requests(self) -> list[Recorded]:
        """Every request so far."""
        with self._changed:
            return list(self._requests)

    def clear(self) -> None:
        """Forget every request."""
        with self._changed:
            self._requests.clear()
            self._count = 0

    def add(self, path: str, headers: dict[str, str], raw: bytes) -> Recorded:
        """Record a request that arrived."""
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = {"unreadable": raw[:1000].decode(errors="replace")}
        digest = hashlib.sha256(raw).hexdigest()[:16]
        with self._changed:
            self._count += 1
            request = Recorded(self._count, time.time(), path, headers, body, digest)
            if self._keep:
                self._requests.append(request)
            self._changed.notify_all()
        self._write("request", request)
        return request

    def mark_answered(self, request: Recorded) -> None:
        """Record that the whole answer was written."""
        self._write("answer", request)
        with self._changed:
            request.answered_at = time.time()
            self._changed.notify_all()

    def wait_for(self, count: int, *, answered: bool, timeout: float) -> list[Recorded]:
        """Block until `count` requests have arrived (or were answered). Raises TimeoutError."""

        def enough() -> bool:
            return sum(r.answered or not answered for r in self._requests) >= count

        with self._changed:
            if not self._changed.wait_for(enough, timeout):
                raise TimeoutError(f"only {len(self._requests)} of {count} requests arrived within {timeout} s")
            return list(self._requests)

    def _write(self, event: Literal["request", "answer"], request: Recorded) -> None:
        if self._file is None:
            return
        line: LogLine = {"event": event, "n": request.n, "at": time.time(), "hash": request.hash}
        if event == "request":
            line["path"], line["body"] = request.path, request.body
        os.write(self._file, json.dumps(line).encode() + b"\n")
