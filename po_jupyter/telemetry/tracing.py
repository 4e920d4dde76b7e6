"""Traces (OpenTelemetry): one from the cell over HTTP, queue and worker to the call of a model.

client ── traceparent ─► server ── run.created ─► worker ─► run ─► task ─► row ─► call

Chosen by the standard variables `OTEL_*` alone: traces are made where an exporter is named (`OTEL_TRACES_EXPORTER`) or
an endpoint (`OTEL_EXPORTER_OTLP_ENDPOINT`), unless `OTEL_SDK_DISABLED`. Without them nothing of OpenTelemetry is
imported. The provider is our own: what a person's code traces by itself is theirs, and their spans are parents of ours.
"""

from __future__ import annotations

import atexit
import base64
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

HEADER = "traceparent"
# Headers of an exporter hold keys: no process that runs a person's code has them in its environment.
HEADER_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
# W3C Trace Context, "traceparent header field values": version 00, no id of zeros.
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_USER = re.compile(r"(\w+://)([^/?#]*)@")
_FLUSH = 2.0  # seconds that the end of a process may wait for its exporter

_incoming: ContextVar[str] = ContextVar(
    "po_traceparent", default=""
)  # as a client sent it, where we trace nothing
_headers = ""  # of the exporter, where the environment must not have them
_provider: TracerProvider | None = None
_last_flush: LastFlush | None = None
_is_unusable = False  # once, and for good: variables do not change
_suspended = False


def enabled(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the variables ask for traces."""
    environ = os.environ if environ is None else environ
    if _suspended or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = _exporters(environ)
    return "none" not in exporters and bool(exporters or any(environ.get(name) for name in _ENDPOINTS))


def _exporters(environ: Mapping[str, str]) -> list[str]:
    """The exporters that are named, in small letters: no value of theirs depends on the case."""
    names = environ.get("OTEL_TRACES_EXPORTER", "").lower().split(",")
    return [name.strip() for name in names if name.strip()]


def captures_content() -> bool:
    """Whether prompts and answers may be in spans, by the variable of OpenTelemetry's conventions for GenAI."""
    return os.environ.get(_CONTENT, "").lower() in ("true", "span_only", "span_and_event")


def exporter_headers() -> str | None:
    """The headers of the exporter, for a worker, which gets them besides its environment; a password in its address is
    one of them."""
    headers = [value for name in HEADER_VARIABLES if (value := os.environ.get(name))][:1]
    address = next((value for name in _ENDPOINTS if (value := os.environ.get(name))), "")
    if (user := without_user(address)[1]) is not None:
        basic = base64.b64encode(unquote(user).encode()).decode()
        headers.insert(0, f"authorization={quote(f'Basic {basic}')}")  # one that is named wins
    return ",".join(headers) or None


def without_user(address: str) -> tuple[str, str | None]:
    """An address without `USER:PASSWORD@`, and these; None where it has none."""
    found = _USER.match(address)
    return (address, None) if found is None else (found[1] + address[found.end() :], found[2])


def use_headers(text: str | None) -> None:
    """Have the exporter of this process send these headers (`exporter_headers` of another one)."""
    global _headers
    _headers = text or ""


def tracer() -> Tracer | None:
    """The tracer of this process; None without traces. Makes a thread, so not before a fork."""
    provider = _tracer_provider() if enabled() else None
    return provider.get_tracer("po_jupyter") if provider is not None else None


def preload() -> bool:
    """Import what `tracer` needs, for the processes that are forked from this one; whether there are traces."""
    if not (enabled() and _sdk()):
        return False
    try:
        return _exporter_maker() is not None
    except Exception:  # each worker says so
        return False


@contextmanager
def suspended() -> Iterator[None]:
    """Make no traces meanwhile, and so no thread, in this whole process."""
    global _suspended
    _suspended = True
    try:
        yield
    finally:
        _suspended = False


def shutdown() -> None:
    """Send what is left, for at most two seconds; once."""
    if _last_flush is not None:
        _last_flush.run(_FLUSH)


class LastFlush:
    """The sending of what is left at the end of a process, with a bound, which `force_flush` of the SDK has not: its
    exporter tries for ten seconds. Its thread is there from the start, since none can be begun at an interpreter's end.
    """

    def __init__(self, provider: TracerProvider) -> None:
        """Nothing is sent yet."""
        self._provider = provider
        self._begin, self._ended = threading.Event(), threading.Event()
        threading.Thread(target=self._flush, name="po-last-traces", daemon=True).start()

    def run(self, seconds: float) -> None:
        """Send, and wait for so long; nothing the second time."""
        if not self._begin.is_set():
            self._begin.set()
            self._ended.wait(seconds)

    def _flush(self) -> None:
        self._begin.wait()
        self._provider.force_flush()
        self._ended.set()


@cache
def _sdk() -> bool:
    """Whether OpenTelemetry's SDK is here; one line of the log says what is missing."""
    try:
        import opentelemetry.sdk.trace.export
        import opentelemetry.trace  # noqa: F401 - whether it is there
    except ImportError as error:
        _warn_of_missing(str(error.name))
        return False
    except ValueError as error:  # it reads some of its variables when it is imported
        _warn_of_variable(error)
        return False
    return True


def _tracer_provider() -> TracerProvider | None:
    global _provider, _last_flush, _is_unusable
    if _provider is None and not _is_unusable and _sdk():
        try:
            provider = _make_provider()
        except (
            Exception
        ) as error:  # a variable's value that the SDK refuses: no run fails for want of its traces
            _warn_of_variable(error)
            provider = None
        if provider is None:
            _is_unusable = True
            return None
        _provider, _last_flush = provider, LastFlush(provider)
        atexit.register(shutdown)
    return _provider


def _make_provider() -> TracerProvider | None:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    make_exporter = _exporter_maker()
    if make_exporter is None:
        return None
    name = os.environ.get("OTEL_SERVICE_NAME") or "po_jupyter"
    provider = TracerProvider(
        resource=Resource.create({"service.name": name, "process.pid": os.getpid()}),
        shutdown_on_exit=False,  # a worker ends by `shutdown`, which waits for so long and no longer
    )
    provider.add_span_processor(BatchSpanProcessor(make_exporter()))
    return provider


def _exporter_maker() -> Callable[[], Any] | None:
    """Of the first exporter that is named and installed: an entry point, as OpenTelemetry's own programs look it up."""
    from importlib.metadata import entry_points

    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
    )
    otlp = "otlp_proto_grpc" if protocol.strip().lower() == "grpc" else "otlp_proto_http"
    names = [otlp if name == "otlp" else name for name in _exporters(os.environ) or ["otlp"]]
    for name in names:
        for entry in entry_points(group="opentelemetry_traces_exporter", name=name):
            maker: Callable[..., Any] = entry.load()
            if _headers and name.startswith("otlp"):  # another one has no such headers
                from opentelemetry.util.re import parse_env_headers

                return partial(maker, headers=parse_env_headers(_headers, liberal=True))
            return maker
    _warn_of_missing(f"an exporter called {', '.join(names)!r:.80}")
    return None


def _warn_of_missing(missing: str) -> None:
    todo = "pip install 'po_jupyter[otel]'; opentelemetry-exporter-otlp-proto-grpc for gRPC"
    _logger().warning("no traces", missing=missing, todo=todo)


def _warn_of_variable(error: Exception) -> None:
    _logger().warning("no traces", error=f"{error!r:.200}", todo="look at the variables OTEL_*")


def _logger() -> Any:
    import structlog

    return structlog.get_logger(__name__)


# -- context over processes -------------------------------------------------------------------------


def accept(header: str | None) -> None:
    """Take over the context that a request came with; one that is none is passed over."""
    _incoming.set(header if header is not None and _TRACEPARENT.fullmatch(header) else "")


def traceparent() -> str | None:
    """The context of this work, for a header or a log: of the span that is active, else as it came in."""
    # Without an import: a client of a broker may be importing it in another thread, and it has nothing yet.
    current_span = getattr(sys.modules.get("opentelemetry.trace"), "get_current_span", None)
    if current_span is not None:
        context = current_span().get_span_context()
        if context.is_valid:
            flags = int(context.trace_flags)
            return f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags:02x}"
    return _incoming.get() or None


def parent_context(header: str | None) -> Any:
    """The context for spans below `header`; None, the active one, without a header."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({HEADER: header}) if header else None


@contextmanager
def span(name: str, kind: str, **attributes: str | int) -> Iterator[None]:
    """A span around one request; `kind` is `CLIENT` or `SERVER`. Nothing without traces."""
    made = tracer()
    if made is None:
        yield
        return
    from opentelemetry.trace import SpanKind, StatusCode

    context = parent_context(_incoming.get()) if kind == "SERVER" else None
    # Of an error the code alone: a message may quote what a person or a model wrote.
    with made.start_as_current_span(
        name, context, SpanKind[kind], attributes, record_exception=False, set_status_on_exception=False
    ) as active:
        try:
            yield
        except Exception as error:
            active.set_attribute("error.type", getattr(error, "code", None) or type(error).__name__)
            active.set_status(StatusCode.ERROR)
            raise
