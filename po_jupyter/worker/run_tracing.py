"""The traces of a worker's run, where the environment asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from po_jupyter.engine.lifecycle.failure_log import FailureLog
from po_jupyter.engine.lifecycle.observers import Observers
from po_jupyter.engine.ports import Observer
from po_jupyter.store.protocol import LogStore
from po_jupyter.telemetry import tracing

if TYPE_CHECKING:
    from po_jupyter.engine.lifecycle.trace_observer import TraceObserver
    from po_jupyter.model.run.events import EventRecord

_FIRST = 50  # events: those of a start are among them


class RunTracing:
    """The observer of a run, with spans where traces are made."""

    def __init__(self, run: str, store: LogStore, log: FailureLog | None = None) -> None:
        """Nothing is read or opened yet. `log` watches besides; by default it is the plain log of failures."""
        self._log = log or FailureLog(run)
        self._run = run
        self._store = store
        self._spans: TraceObserver | None = None

    def read(self) -> list[EventRecord]:
        """The first events of the run, of which the very first names the trace that it belongs to; none without traces.
        Blocks."""
        return self._store.events(self._run, limit=_FIRST) if tracing.enabled() else []

    def observer(self, events: list[EventRecord]) -> Observer:
        """The observer of the run, from what `read` found; called in the asyncio task that the run's are made in."""
        log = self._log
        tracer = tracing.tracer() if events else None
        if tracer is None:
            return log
        from po_jupyter.engine.lifecycle.trace_observer import TraceObserver

        created = events[0]
        data = created["data"]
        is_new = not any(event["type"] == "run.started" for event in events)
        self._spans = TraceObserver(
            tracer,
            self._run,
            str(data.get("pipeline", "")),
            created["at"] if is_new else None,
            data.get("trace"),
        )
        return Observers(log, self._spans) if self._spans.is_recorded else log

    def end(self, state: str) -> None:
        """The run left this worker in `state`; the first time counts."""
        spans, self._spans = self._spans, None
        if spans is not None:
            spans.end_run(state)
