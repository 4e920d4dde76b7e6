"""The state of a run that was handed over, by the history that came with it: checked before anything reads it as a run.

A history is written by who sends it. It may not name runs of others, decide what its reader may not, or say something
that views and workers cannot read.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState, run_view_of
from po_jupyter.errors import CorruptRow, Forbidden, InvalidInput, NotFound
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.run.events import NumberedEvent
from po_jupyter.model.run.view import ENDED, RunView
from po_jupyter.store.protocol import Head, Store


class ReceivedState:
    """The fold of the events of a run that comes in. `may_decide`: who hands it over may decide gates of its owner."""

    def __init__(self, head: Head, pipeline: Pipeline, *, may_decide: bool) -> None:
        """Without events."""
        self._head = head
        self._pipeline = pipeline
        self._may_decide = may_decide
        self._state = RunState(head["run"])
        self._children: set[str] = set()

    def add(self, events: Sequence[NumberedEvent]) -> None:
        """Take the next events. Raises Forbidden, InvalidInput."""
        for event in events:
            if event["type"] == "gate.decided" and not self._may_decide:
                raise Forbidden(
                    f"the gate {event.get('task', '')!r:.60} of the run is decided already, and gates of this group "
                    "are for its approvers to decide",
                    hint="Start the run among the shared ones: po run ... --on shared",
                )
        try:
            if events:
                self._state = fold(self._state, list(events))
                self._children.update(self._state.child_runs)
        except Exception as error:  # whatever a made up event does to a rule, it is no history
            raise _unreadable(type(error).__name__) from None

    def check(self, store: Store) -> None:
        """Check the state that all of them come to. Blocks. Raises InvalidInput."""
        state, tasks = self._state, {task.name: task for task in self._pipeline.tasks}
        if state.added or state.withdrawn or state.parent is not None or state.tasks.keys() - tasks.keys():
            raise InvalidInput("the run has tasks, or a parent, that its definition does not name")
        if state.open_shards or any(
            found.shards and (tasks[name].pipeline is not None or tasks[name].for_each is None)
            for name, found in state.tasks.items()
        ):
            raise InvalidInput("the run has child runs, which do not come with it")
        if any(_exists(store, run) for run in self._children):
            raise InvalidInput("the run says that runs are a part of it which are not")
        if any(found.kind != tasks[name].kind for name, found in state.tasks.items()):
            raise InvalidInput("the run has tasks of another kind than its definition")
        if state.state != self._head["state"] and not ENDED.isdisjoint((state.state, self._head["state"])):
            raise InvalidInput(f"the run is {state.state!r:.20} by its history, and says otherwise of itself")
        try:
            RunView.model_validate(run_view_of(state, {}).model_dump(warnings=False))
        except (ValidationError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise _unreadable(type(error).__name__) from None


def _exists(store: Store, run: str) -> bool:
    try:
        store.head(run)
    except NotFound:
        return False
    except CorruptRow:
        return True
    return True


def _unreadable(why: str) -> InvalidInput:
    return InvalidInput(f"the history of the run cannot be read: {why}")
