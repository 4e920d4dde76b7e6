"""Conditional append: optimistic concurrency on the log of a run. What was checked still holds when it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Moved
from po_jupyter.model.run.events import EventDraft
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.store.protocol import Head, LogStore

_TRIES = 100  # a worker that commits all the time leaves milliseconds between two records


class LogAppend(NamedTuple):
    """Events to append, and the run's state with them (None: as it is)."""

    events: Sequence[EventDraft]
    state: str | None = None


def append_if_current(
    store: LogStore, projections: RunProjections, run: str, build: Callable[[Head, RunState], LogAppend]
) -> Head:
    """Append what `build` makes of the run as it is now; the head afterwards. Blocks: call it in a thread.

    When somebody else wrote in between, `build` is called again with the newer state: of two that decide at the same
    moment the second one sees the first. Raises what `build` raises, and Moved when the run never holds still.
    """
    for remaining in range(_TRIES, -1, -1):
        head = store.head(run)
        append = build(head, projections.state(head))
        try:
            return store.request(run, append.events, append.state, after=head["n"])
        except Moved:
            if not remaining:
                raise
    raise AssertionError("the last try returns or raises")
