"""Our spans on the wire: what the library would send, to the byte of each field."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState

from po_jupyter.telemetry.exporters import otlp
from po_jupyter.telemetry.spans import RecordedSpan, SpanRecorder

REMOTE = SpanContext(0xA << 124, 0xB << 60, True, TraceFlags(1))


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def recorder(exporter: InMemorySpanExporter) -> SpanRecorder:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test", "1.0")
    assert isinstance(tracer, Tracer)
    with tracer.start_as_current_span("run") as run:
        assert isinstance(run, ReadableSpan)
        return SpanRecorder(tracer, run)


def faster(spans: tuple[ReadableSpan, ...]) -> bytes:
    module = SimpleNamespace(encode_spans=encode_spans)
    otlp.use_in(module)  # type: ignore[arg-type]
    otlp.use_in(module)  # type: ignore[arg-type]  # nothing the second time
    made: bytes = module.encode_spans(spans).SerializeToString()
    return made


def test_each_field_is_what_the_library_sends(recorder: SpanRecorder, exporter: InMemorySpanExporter) -> None:
    exporter.clear()
    values = {
        "text": "ä", "long": "x" * 20_000, "empty": "", "one": 1, "true": True, "float": 1.0, "zero": 0,
        "negative": -5, "false": False, "many": ("stop", "length"), "none": (),
    }  # fmt: skip
    for kind in SpanKind:
        for failed in (True, False):
            span = recorder.start(f"chat {kind.name}", REMOTE, kind)
            assert span is not None
            span.end(dict(values), failed=failed)
            below = recorder.start("ä" * 200, span.context)
            assert below is not None
            below.end({}, failed=failed)
    spans = exporter.get_finished_spans()
    assert len(spans) == 20
    assert faster(spans) == encode_spans(spans).SerializeToString()


def test_spans_of_others_and_those_with_more_to_them_go_along(
    recorder: SpanRecorder, exporter: InMemorySpanExporter
) -> None:
    """Events and the state of a trace are left to the library."""
    plain = recorder.start("plain", REMOTE)
    again = recorder.start("again", REMOTE)
    state = SpanContext(1, 2, True, TraceFlags(1), TraceState([("vendor", "x")]))
    stated = recorder.start("stated", state)
    assert plain is not None and again is not None and stated is not None
    again.add_event("retry", {"po.tries": 1})
    for span in (plain, again, stated):
        span.end({"a": 1}, failed=False)
    spans = exporter.get_finished_spans()
    assert [type(span) is RecordedSpan for span in spans] == [False, True, True, True]
    sent = type(encode_spans(spans)).FromString(faster(spans))
    found = [span for part in sent.resource_spans for scope in part.scope_spans for span in scope.spans]
    wanted = encode_spans(spans).resource_spans[0].scope_spans[0].spans
    assert sorted(span.SerializeToString() for span in found) == sorted(s.SerializeToString() for s in wanted)
    assert {span.name for span in found if span.events} == {"again"}
    assert {span.trace_state for span in found} == {"", "vendor=x"}
    assert {part.resource.SerializeToString() for part in sent.resource_spans} == {
        encode_spans(spans[:1]).resource_spans[0].resource.SerializeToString()
    }
    assert faster(()) == b""


def test_nothing_is_made_below_a_span_that_nobody_keeps(recorder: SpanRecorder) -> None:
    left_out = NonRecordingSpan(SpanContext(1, 2, False, TraceFlags(0))).get_span_context()
    assert recorder.start("row", left_out) is None
