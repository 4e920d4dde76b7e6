"""The traces of a worker's run: nothing is read or made where nobody asks for them."""

from __future__ import annotations

import contextvars

import pytest

from po_jupyter.engine.lifecycle.failure_log import FailureLog
from po_jupyter.engine.lifecycle.observers import Observers
from po_jupyter.store.keyed.memory import MemoryStore
from po_jupyter.telemetry import tracing
from po_jupyter.worker.run_tracing import RunTracing
from tests.support.stored_runs import RUN, store_run

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def test_without_an_exporter_there_is_the_failure_log_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT, raising=False)
    traces = RunTracing(RUN, MemoryStore())  # which has no such run: it is not asked
    assert traces.read() == []
    assert type(traces.observer([])) is FailureLog
    traces.end("done")


def test_with_one_there_are_spans_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.sdk.trace import TracerProvider

    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setattr(tracing, "_provider", TracerProvider(shutdown_on_exit=False))
    store = MemoryStore()
    store_run(store)
    traces = RunTracing(RUN, store)
    events = traces.read()
    assert [event["type"] for event in events] == ["run.created"]
    observer = contextvars.copy_context().run(
        traces.observer, events
    )  # what is active then is so in its context
    assert type(observer) is Observers
    traces.end("done")


def test_a_run_that_the_sampler_leaves_out_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is put together for spans that nobody keeps, and its requests still name its trace."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setattr(tracing, "_provider", TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False))
    store = MemoryStore()
    store_run(store)
    traces = RunTracing(RUN, store)
    context = contextvars.copy_context()
    assert type(context.run(traces.observer, traces.read())) is FailureLog
    header = context.run(tracing.traceparent)
    assert header is not None
    assert int(header[-2:], 16) & 1 == 0, "not sampled: the others' spans of it are none either"
    traces.end("done")
