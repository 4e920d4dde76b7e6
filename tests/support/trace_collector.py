"""An OTLP collector of the tests: keeps the spans that are posted to it."""

from __future__ import annotations

import gzip
import http.server
import threading
from typing import Any, NamedTuple


class CollectedSpan(NamedTuple):
    """A span with its ids in hexadecimal, and the pid of the process that made it."""

    name: str
    trace: str
    id: str
    parent: str
    pid: int
    attributes: dict[str, Any]
    failed: bool


class TraceCollector:
    """A server on loopback; `url` is for `OTEL_EXPORTER_OTLP_ENDPOINT`."""

    def __init__(self) -> None:
        outer = self
        self.spans: list[CollectedSpan] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.came = threading.Condition()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                with outer.came:
                    outer.bodies.append(body)
                    outer.headers.append({k.lower(): v for k, v in self.headers.items()})
                    outer.spans += spans_in(body)
                    outer.came.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def wait_for(self, name: str, *, root: bool = False, timeout: float = 20.0) -> CollectedSpan:
        """The first span whose name begins so; with `root` one without a parent."""

        def found() -> CollectedSpan | None:
            return next(
                (span for span in self.spans if span.name.startswith(name) and not (root and span.parent)), None
            )

        with self.came:
            assert self.came.wait_for(lambda: found() is not None, timeout), [s.name for s in self.spans]
            span = found()
            assert span is not None
            return span

    def named(self, name: str) -> list[CollectedSpan]:
        """Spans whose names begin so."""
        return [span for span in self.spans if span.name.startswith(name)]

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def spans_in(body: bytes) -> list[CollectedSpan]:
    """The spans of one request in OTLP's protobuf."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans = []
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = {a.key: _value(a.value) for a in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                spans.append(
                    CollectedSpan(
                        span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
                        about.get("process.pid", 0), {a.key: _value(a.value) for a in span.attributes},
                        span.status.code == 2,
                    )
                )  # fmt: skip
    return spans


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind) if kind else None
