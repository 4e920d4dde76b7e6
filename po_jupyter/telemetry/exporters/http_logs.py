"""The exporter of log lines to another machine over HTTP: one JSON object a line, or OTLP (OpenTelemetry's protocol,
JSON encoded).

Nothing waits for it: lines go into a bounded queue that a thread of its own empties. What does not fit, or
cannot be delivered in three tries, is dropped and counted; the next delivery says how much. The local log has
every line. OTLP: opentelemetry.io/docs/specs/otlp, "OTLP/HTTP", and the logs data model.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
import urllib.request
from collections.abc import Sequence
from typing import Any, Literal

from po_jupyter.model.values.json import JsonObject

_QUEUE = 10_000
_BATCH = 500
_PAUSE = 1.0  # s that lines are collected
_TRIES = 3
_SEVERITY = {"debug": 5, "info": 9, "warning": 13, "error": 17, "critical": 21}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """The token goes where it was meant to go, and nowhere else."""


class HttpLogHandler(logging.Handler):
    """Sends rendered JSON lines to `url`; `token` is sent as a bearer token."""

    def __init__(
        self,
        url: str,
        *,
        format: Literal["json", "otlp"] = "json",
        token: str | None = None,
        timeout: float = 5.0,
    ) -> None:
        """Nothing is sent before the first line."""
        super().__init__()
        self._url, self._format, self._timeout = url, format, timeout
        self._headers = {"Content-Type": "application/json" if format == "otlp" else "application/x-ndjson"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler())
        self._queue: queue.Queue[str | None] = queue.Queue(_QUEUE)
        self._thread: threading.Thread | None = None
        self._pid = 0
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the line; never waits, never raises."""
        if self._thread is None or self._pid != os.getpid():
            self._start()
        try:
            self._queue.put_nowait(record.getMessage())
        except queue.Full:
            self.dropped += 1

    def _start(self) -> None:
        if self._pid != os.getpid():  # in the child of a fork: the parent's lines are the parent's
            self._queue, self._pid = queue.Queue(_QUEUE), os.getpid()
        self._thread = threading.Thread(target=self._work, name="po-remote-log", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        over = False
        while not over:
            lines, over = self._collect()
            if lines:
                self._deliver(lines, patient=not over)

    def _collect(self) -> tuple[list[str], bool]:
        line = self._queue.get()
        if line is None:
            return [], True
        lines, end = [line], time.monotonic() + _PAUSE
        while len(lines) < _BATCH and (remaining := end - time.monotonic()) > 0:
            try:
                line = self._queue.get(timeout=remaining)
            except queue.Empty:
                break
            if line is None:
                return lines, True
            lines.append(line)
        return lines, False

    def _deliver(self, lines: Sequence[str], *, patient: bool) -> None:
        dropped = self.dropped
        if dropped:
            notice = {
                "event": "log lines were not delivered",
                "level": "warning",
                "logger": __name__,
            }
            lines = [*lines, json.dumps({**notice, "lines": dropped})]
        body = otlp(lines) if self._format == "otlp" else "\n".join(lines).encode() + b"\n"
        for attempt in range(_TRIES if patient else 1):
            if attempt:
                time.sleep(2.0**attempt)
            try:
                request = urllib.request.Request(self._url, body, self._headers)  # noqa: S310  # checked in config
                with self._opener.open(request, timeout=self._timeout):
                    self.dropped -= dropped
                    return
            except (OSError, ValueError):
                continue
        self.dropped += len(lines) - bool(dropped)

    def flush_for(self, seconds: float) -> None:
        """Deliver what is queued, for at most so long: for a process that is about to end."""
        if self._thread is not None and self._pid == os.getpid():
            self._queue.put(None)
            self._thread.join(seconds)
            self._thread = None

    def close(self) -> None:
        """Deliver what is queued, for two seconds at most."""
        self.flush_for(2.0)
        super().close()


def otlp(lines: Sequence[str]) -> bytes:
    """The lines as an ExportLogsServiceRequest in JSON."""
    records = []
    for line in lines:
        try:
            fields = json.loads(line)
        except ValueError:
            fields = {"event": line}
        level = str(fields.pop("level", "info"))
        record: JsonObject = {
            "timeUnixNano": str(time.time_ns()),
            "severityNumber": _SEVERITY.get(level, 9),
            "severityText": level.upper(),
            "body": {"stringValue": str(fields.pop("event", ""))},
            "attributes": [{"key": k, "value": _attribute_value(v)} for k, v in fields.items()],
        }
        records.append(record)
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "po_jupyter"}}]}
    scope = {"scope": {"name": "po_jupyter"}, "logRecords": records}
    return json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [scope]}]}).encode()


def _attribute_value(value: Any) -> JsonObject:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value if isinstance(value, str) else json.dumps(value, default=str)}
