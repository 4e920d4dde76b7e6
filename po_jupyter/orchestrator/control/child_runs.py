"""Child runs: a part of a map of another run. People change the whole; its parts go with it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Conflict, NotFound
from po_jupyter.model.run.names import short_id
from po_jupyter.orchestrator.control.run_files import remove_run_files
from po_jupyter.orchestrator.views.daily_usage import DailyUsage
from po_jupyter.orchestrator.workers.worker_exits import child_heads, end_child_runs
from po_jupyter.store.objects.shared_files import SharedFiles
from po_jupyter.store.protocol import Head, Store


def check_is_whole(head: Head) -> None:
    """Check that a run is no part of another one: that alone is changed. Raises Conflict."""
    if (parent := head.get("parent")) is not None:
        raise Conflict(
            f"run {short_id(head['run'])} works on rows of a map of run {short_id(parent)}, and is changed with it",
            hint=f"Do that to the whole: {short_id(parent)}",
        )


def delete_child_runs(
    store: Store, data_dir: Path, files: SharedFiles | None, state: RunState, usage: DailyUsage
) -> list[str]:
    """Delete the child runs of a run that is about to be deleted, and their files; which they were. What they used and
    is not in the log of the run is counted before. Blocks.

    Raises Conflict where one is still at work: it is told to end.
    """
    if at_work := end_child_runs(store, state):
        raise Conflict(
            f"child runs of run {short_id(state.run)} are still at work: {len(at_work)}",
            hint="They were told to end. Delete it again in a moment.",
            details={"runs": at_work},
        )
    heads = list(child_heads(store, state))
    for head in heads:
        usage.count_rest(head, state.merged_of(head["run"]))
        with suppress(NotFound):
            store.delete_run(head["run"])
        remove_run_files(data_dir, files, head["run"])
    return [head["run"] for head in heads]
