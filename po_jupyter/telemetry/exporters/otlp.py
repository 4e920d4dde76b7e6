"""The form of our spans on the wire (OTLP, protobuf), at a tenth of the price.

The library makes each attribute anew for each span, though nearly all of them say what others said: the run, the task,
the model; and it looks the resource up by a hash of its JSON, for each span. Here an attribute is made once, and what
differs (ids, times) is packed around it. The numbers are those of opentelemetry/proto/trace/v1/trace.proto, `Span`:
a tag is the field's number * 8 + its wire type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct
from types import ModuleType
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import SpanFlags, Status
from opentelemetry.sdk.trace import ReadableSpan

from po_jupyter.telemetry.spans import RecordedSpan

Encode = Callable[[Sequence[ReadableSpan]], ExportTraceServiceRequest]

_SHORT = 200  # characters: longer texts are prompts, which are not said twice
_FLAGS = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK


def use_in(exporter: ModuleType) -> None:
    """Have the exporters of this module encode our spans in this way; the spans of others as before."""
    encode: Encode | None = getattr(exporter, "encode_spans", None)
    if encode is not None and not isinstance(encode, _Encoder):
        exporter.encode_spans = _Encoder(encode)  # type: ignore[attr-defined]


class _Encoder:
    def __init__(self, encode: Encode) -> None:
        """`encode` is the library's."""
        self._encode = encode

    def __call__(self, spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
        """The request for these spans."""
        plain = [span for span in spans if _is_plain(span)]
        if not plain:
            return self._encode(spans)
        request = self._encode([span for span in spans if not _is_plain(span)])
        ours = self._encode(plain[:1]).resource_spans[0]  # one provider's: they have one resource
        scope = ours.scope_spans[0]
        del scope.spans[:]
        scope.MergeFromString(b"".join(map(_span, plain)))
        request.resource_spans.append(ours)
        return request


def _is_plain(span: ReadableSpan) -> bool:
    return type(span) is RecordedSpan and not span._events and not span.context.trace_state


def _span(span: Any) -> bytes:  # a RecordedSpan: nothing of it is None
    """One `spans` of a ScopeSpans."""
    context, parent = span._context, span._parent
    flags = _FLAGS | (SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK if parent.is_remote else 0)
    # The API counts kinds from 0, the wire from 1: 0 there is "unspecified".
    start = _START(
        b"\x0a\x10", context.trace_id.to_bytes(16, "big"), b"\x12\x08", context.span_id.to_bytes(8, "big"),
        b"\x22\x08", parent.span_id.to_bytes(8, "big"), 0x30, span._kind.value + 1,
        0x39, span._start_time, 0x41, span._end_time,
    )  # fmt: skip
    attributes = [_attribute(key, value) for key, value in span._attributes.items()]
    status = _STATUS[span._status.status_code.value]
    return _field(b"\x12", b"".join((start, _name(span._name), *attributes, status, _END(b"\x85\x01", flags))))


# trace_id, span_id, parent_span_id, kind, start_time_unix_nano, end_time_unix_nano; at the end: flags.
_START = Struct("<2s16s2s8s2s8sBBBQBQ").pack
_END = Struct("<2sI").pack


def _field(tag: bytes, content: bytes) -> bytes:
    """A field of variable length: its size in groups of 7 bits, the least significant first."""
    size, prefix = len(content), tag
    while size > 0x7F:
        prefix += bytes((size & 0x7F | 0x80,))
        size >>= 7
    return b"".join((prefix, bytes((size,)), content))


@lru_cache(maxsize=1024)
def _name(name: str) -> bytes:
    return _field(b"\x2a", name.encode())


def _attribute(key: str, value: Any) -> bytes:
    is_long = isinstance(value, str) and len(value) > _SHORT
    return _made(key, value) if is_long else _attribute_of(key, value)


def _made(key: str, value: Any) -> bytes:
    return _field(b"\x4a", KeyValue(key=key, value=_value(value)).SerializeToString())


# `typed`: 1, 1.0 and True are the same key, and not the same on the wire.
_attribute_of = lru_cache(maxsize=4096, typed=True)(_made)


def _value(value: Any) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(array_value=ArrayValue(values=map(_value, value)))


# By the number of its code: unset, ok, error.
_STATUS = [_field(b"\x7a", Status(code=code).SerializeToString()) for code in Status.StatusCode.values()]
