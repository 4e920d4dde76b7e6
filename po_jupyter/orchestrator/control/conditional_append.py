"""What people ask of a run, checked and written as one step: what was checked holds when it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Moved
from po_jupyter.model.run.events import EventDraft
from po_jupyter.orchestrator.views.projections import Views
from po_jupyter.store.protocol import Head, LogStore

_TRIES = 100  # a worker that commits all the time leaves milliseconds between two records


class Asked(NamedTuple):
    """Events, and the state that the run is in with them (None: as it is)."""

    events: Sequence[EventDraft]
    state: str | None = None


def ask(store: LogStore, views: Views, run: str, words: Callable[[Head, RunState], Asked]) -> Head:
    """Append what `words` says of the run as it is now. Blocks: call it in a thread.

    When somebody else wrote in between, `words` is asked again: of two that decide at the same moment the
    second one sees the first. Raises what `words` raises, and Moved when the run never holds still.
    """
    for left in range(_TRIES, -1, -1):
        head = store.head(run)
        asked = words(head, views.state(head))
        try:
            return store.request(run, asked.events, asked.state, after=head["n"])
        except Moved:
            if not left:
                raise
    raise AssertionError("the last try returns or raises")
