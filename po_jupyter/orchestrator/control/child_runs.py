"""Child runs: rows of a map of another run, or the pipeline of a task of it. People change the whole; its parts go with
it. Only the gate of a pipeline is decided where it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from po_jupyter.engine.replay.history import read_history
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Conflict, NotFound
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.view import ENDED
from po_jupyter.orchestrator.control.run_files import remove_run_files
from po_jupyter.orchestrator.views.daily_usage import DailyUsage
from po_jupyter.store.objects.shared_files import SharedFiles
from po_jupyter.store.protocol import Head, Store


def check_is_whole(head: Head) -> None:
    """Check that a run is no part of another one: that alone is changed. Raises Conflict."""
    if (parent := head.get("parent")) is not None:
        raise Conflict(
            f"run {short_id(head['run'])} is a part of run {short_id(parent)}, and is changed with it",
            hint=f"Do that to the whole: {short_id(parent)}",
        )


class ChildHead(NamedTuple):
    """A child run of a run, or one of its child runs. `merged`: the number of its last record that is in the log of
    the run that it is a part of."""

    head: Head
    merged: int


def child_tree(store: Store, state: RunState) -> Iterator[ChildHead]:
    """The child runs of a run that are there, each after its own. Blocks."""
    pipelines = {run for task in state.tasks.values() if task.kind == "pipeline" for run in task.shards}
    for run in state.child_runs:
        with suppress(NotFound):
            head = store.head(run)
            if head.get("parent") != state.run:  # whatever the log says: it may have come from elsewhere
                continue
            if run in pipelines:  # the others have none
                yield from child_tree(store, read_history(store, run).state)
            yield ChildHead(head, state.merged_of(run))


def delete_child_runs(
    store: Store, data_dir: Path, files: SharedFiles | None, state: RunState, usage: DailyUsage
) -> list[str]:
    """Delete the child runs of a run that is about to be deleted, and their files; which they were. What they used and
    is not in the log of the run is counted before. Blocks.

    Raises Conflict where one is still at work: it is told to end.
    """
    children = list(child_tree(store, state))
    if at_work := [child.head["run"] for child in children if child.head["state"] not in ENDED]:
        for run in at_work:
            store.request(run, [draft("run.cancel_requested", by=state.run)])
        raise Conflict(
            f"child runs of run {short_id(state.run)} are still at work: {len(at_work)}",
            hint="They were told to end. Delete it again in a moment.",
            details={"runs": at_work},
        )
    for head, merged in children:
        usage.count_rest(head, merged)
        with suppress(NotFound):
            store.delete_run(head["run"])
        remove_run_files(data_dir, files, head["run"])
    return [child.head["run"] for child in children]
