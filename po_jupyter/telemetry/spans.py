"""Spans that are cheap to make: below one that the sampler took, and put together once, when they end.

The SDK asks its sampler for each span, takes a lock for each change of one and copies its attributes twice. Below a
span that is recorded the answer is known, and nobody else changes a span of ours.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan, Tracer
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

_UNSET, _ERROR = Status(StatusCode.UNSET), Status(StatusCode.ERROR)


class RecordedSpan(ReadableSpan):
    """A span that has ended: its attributes are a plain dict of plain values, which no one changes."""


class OpenSpan:
    """A span that has begun. `context` is the parent of what happens in it."""

    __slots__ = ("_events", "_kind", "_name", "_parent", "_recorder", "_started", "context")

    def __init__(self, recorder: SpanRecorder, name: str, parent: SpanContext, kind: SpanKind) -> None:
        """Begins now."""
        self._recorder = recorder
        self._name = name
        self._parent = parent
        self._kind = kind
        self._events: tuple[Event, ...] = ()
        self.context = SpanContext(
            parent.trace_id, recorder.new_id(), False, parent.trace_flags, parent.trace_state
        )
        self._started = time.time_ns()

    def add_event(self, name: str, attributes: Mapping[str, str | int]) -> None:
        """Something that happens in it now."""
        self._events += (Event(name, attributes, time.time_ns()),)

    def end(self, attributes: dict[str, Any], *, failed: bool) -> None:
        """It ends now. `attributes` are its own from here on."""
        self._recorder.record(
            RecordedSpan(
                self._name, self.context, self._parent, self._recorder.resource, attributes, self._events, (),
                self._kind, None, _ERROR if failed else _UNSET, self._started, time.time_ns(), self._recorder.scope,
            )
        )  # fmt: skip


class SpanRecorder:
    """Makes spans as `tracer` does, for parents that are sampled; `first` is one of those that it made."""

    __slots__ = ("new_id", "record", "resource", "scope")

    def __init__(self, tracer: Tracer, first: ReadableSpan) -> None:
        """Nothing is made yet."""
        self.new_id = tracer.id_generator.generate_span_id
        self.record = tracer.span_processor.on_end
        self.resource = first.resource
        self.scope = first.instrumentation_scope

    def start(self, name: str, parent: SpanContext, kind: SpanKind = SpanKind.INTERNAL) -> OpenSpan | None:
        """Begin a span; None below one that nobody keeps."""
        return OpenSpan(self, name, parent, kind) if parent.trace_flags.sampled else None
