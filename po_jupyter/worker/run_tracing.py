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


class RunTracing:
    """The observer of a run, with spans where traces are made."""

    def __init__(self, run: str, store: LogStore, log: FailureLog | None = None) -> None:
        """Nothing is read or opened yet. `log` watches besides; by default it is the plain log of failures."""
        self._log = log or FailureLog(run)
        self._run = run
        self._store = store
        self._spans: TraceObserver | None = None

    def read(self) -> EventRecord | None:
        """The first event of the run, which names the trace that it belongs to; None without traces. Blocks."""
        return self._store.events(self._run, limit=1)[0] if tracing.enabled() else None

    def observer(self, created: EventRecord | None) -> Observer:
        """The observer of the run, from what `read` found; called in the asyncio task that the run's are made in."""
        log = self._log
        tracer = tracing.tracer() if created is not None else None
        if tracer is None or created is None:
            return log
        from po_jupyter.engine.lifecycle.trace_observer import TraceObserver

        data = created["data"]
        self._spans = TraceObserver(
            tracer, self._run, str(data.get("pipeline", "")), created["at"], data.get("trace")
        )
        return Observers(log, self._spans)

    def end(self, state: str) -> None:
        """The run left this worker in `state`."""
        if self._spans is not None:
            self._spans.end_run(state)
