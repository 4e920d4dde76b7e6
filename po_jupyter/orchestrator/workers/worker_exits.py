"""The ends of workers, and what becomes of their runs, as the orchestrator itself writes it: a crash, a death, an end.

Every function blocks on the store: call them in a thread. Each claims the run first, so that a worker that
is not as dead as it looked is fenced out. The claim is for what was read: StaleFence when another process took the run
since, or `is_elsewhere` says that another machine has it. The run is to be looked at again then.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import structlog

from po_jupyter.engine.replay.history import History, read_history
from po_jupyter.engine.replay.lost_calls import report_lost_calls, report_lost_progress
from po_jupyter.engine.state.decide import End, decide
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Moved, NotFound, PoError, StaleFence, WorkerCrashed
from po_jupyter.ipc.exit_status import ExitStatus
from po_jupyter.model.run.events import EventDraft, draft, event_draft
from po_jupyter.model.run.view import ENDED
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.workers.store_backoff import StoreWait
from po_jupyter.platform import processes, signals
from po_jupyter.store.protocol import Commit, Head, Lease, LogStore
from po_jupyter.telemetry.redaction import redactor

log = structlog.get_logger(__name__)

_TAIL = 2000  # characters of a worker's log that its crash keeps


class WorkerExit(NamedTuple):
    """The end of a worker. `status` is None when only another process could have known it; `end_reason` says why we
    ended it ourselves; `log` is the log of its process."""

    identity: processes.Identity
    status: int | None
    end_reason: str | None
    log: Path


def _never(head: Head) -> bool:
    return False


def settle(
    store: LogStore, views: RunProjections, run: str, *, is_elsewhere: Callable[[Head], bool] = _never
) -> tuple[Literal["pending", "waiting", "ended"], Head]:
    """Settle a run without a worker: `pending` (it needs one), `waiting` (for a person), or `ended`. A run
    of which nothing but its end is left (a cancel, a rejected gate) is ended here."""
    head = store.head(run)
    if head["state"] in ENDED:
        return "ended", head
    if head["holder"] is not None and not processes.alive(head["holder"]):
        head = _report_losses(
            store, head, is_elsewhere
        )  # a machine that went down: nobody saw the worker's end
    state = views.state(head)
    rejected = any(t.gate == "rejected" for t in state.tasks.values())
    if (state.cancel_requested or rejected) and state.works_elsewhere and head["state"] != "waiting":
        return "pending", head  # a worker cancels batches and child runs, and keeps what is finished
    if state.cancel_requested or rejected:
        step = decide(views.pipeline(run), state)[0]
        assert isinstance(step, End)
        return "ended", _end(store, head, is_elsewhere, f"run.{step.state}", step.state, step.error)
    if head["state"] == "waiting":
        if any(t.gate == "open" for t in state.tasks.values()):
            return "waiting", head
        # The decision came while the worker was about to leave: nothing else would wake the run.
        head = store.request(run, [draft("run.resumed", by="gate")], "pending")
    return "pending", head


def _losses(history: History) -> list[EventDraft]:
    """Events for what a worker that is gone used and did not live to say, so that every sum says it at once."""
    return [*report_lost_progress(history), *report_lost_calls(history)]


def _claim(store: LogStore, head: Head, is_elsewhere: Callable[[Head], bool]) -> Lease:
    if is_elsewhere(head):
        raise StaleFence(f"another machine has run {head['run']}")
    # No worker has it, also where the commit that ends the claim fails.
    holder: processes.Identity = {**processes.myself(), "reserves": True}
    return store.claim(head["run"], holder, expect=head["fence"])


def _report_losses(store: LogStore, head: Head, is_elsewhere: Callable[[Head], bool]) -> Head:
    if not (events := _losses(read_history(store, head["run"]))):
        return head
    lease = _claim(store, head, is_elsewhere)
    return store.commit(lease, Commit(events=events, release=True))


def _end(
    store: LogStore,
    head: Head,
    is_elsewhere: Callable[[Head], bool],
    event: str,
    state: str,
    error: JsonObject | None,
) -> Head:
    lease = _claim(store, head, is_elsewhere)
    history = read_history(store, head["run"])
    end_child_runs(store, history.state)
    end = event_draft(event, None, None, {"error": error} if error else {})
    return store.commit(lease, Commit(events=[*_losses(history), end], state=state, release=True))


def child_heads(store: LogStore, state: RunState) -> Iterator[Head]:
    """The heads of the child runs of a run that are there. Blocks."""
    for run in state.child_runs:
        with suppress(NotFound):
            head = store.head(run)
            if head.get("parent") == state.run:  # whatever the log says: it may have come from elsewhere
                yield head


def end_child_runs(store: LogStore, state: RunState) -> list[str]:
    """Tell the child runs that are at work to end, as nobody follows them any more; which they are. Blocks."""
    at_work = [head["run"] for head in child_heads(store, state) if head["state"] not in ENDED]
    for run in at_work:
        store.request(run, [draft("run.cancel_requested", by=state.run)])
    return at_work


def end_as_dead(
    store: LogStore, run: str, error: PoError, *, is_elsewhere: Callable[[Head], bool] = _never
) -> None:
    """End the run as dead, whatever it was doing here."""
    head = store.head(run)
    if head["state"] not in ENDED:
        _end(store, head, is_elsewhere, "run.dead", "dead", error.to_json())


def record_crash(
    store: LogStore,
    views: RunProjections,
    run: str,
    end: WorkerExit,
    max_crashes: int,
    *,
    counts: bool = True,
    is_elsewhere: Callable[[Head], bool] = _never,
) -> int | None:
    """Record that the worker of this run ended without a last message. Without `counts` it shared its process, and it
    was another run that ended it.

    Returns the number of crashes in a row, or None when there was none: the run had left it already,
    another process works on it, or we ended it ourselves for a cancel.
    """
    head = store.head(run)
    if not _is_crash(head, end):
        return None
    lease = _claim(store, head, is_elsewhere)
    losses = _losses(read_history(store, run))
    if losses:
        store.commit(lease, Commit(events=losses))
    state = views.state(store.head(run))
    if state.cancel_requested and not state.works_elsewhere:
        store.commit(lease, Commit(events=[draft("run.cancelled")], state="cancelled", release=True))
        return None
    crashes = state.crashes + counts
    tasks = [
        {"task": t.name, "stage": t.stage, "attempt": t.attempt}
        for t in state.tasks.values()
        if t.state == "running"
    ]
    error = WorkerCrashed(
        _crash_sentence(end, crashes, counts),
        hint=f"Its log: {end.log}",
        details={
            "status": end.status, "crashes": crashes, "log": _tail(end.log), "tasks": tasks
        },
    ).to_json()  # fmt: skip
    about = {"run": run, "pid": end.identity["pid"], "how": describe_exit(end), "crashes": crashes}
    for task in tasks or [{}]:
        log.error("worker crashed", **about, **task)
    crashed = draft("worker.crashed", error=error, crashes=crashes)
    if not counts:
        crashed["data"]["counted"] = False
    events = [crashed]
    if counts and crashes >= max_crashes:
        end_child_runs(store, state)
        events.append(draft("run.dead", error=error))
        store.commit(lease, Commit(events=events, state="dead", release=True))
    else:
        store.commit(lease, Commit(events=events, release=True))
    return crashes


def _crash_sentence(end: WorkerExit, crashes: int, counts: bool) -> str:
    if not counts:
        return (
            f"the process that worked on this run and others {describe_exit(end)}; it is not this run's fault"
        )
    return f"the worker of this run {describe_exit(end)}" + (
        f", {crashes} times in a row" if crashes > 1 else ""
    )


def is_reserved_here(holder: processes.Identity) -> bool:
    """Whether this very process has the run, for a worker or for something that it writes itself."""
    return holder.get("reserves", False) and holder["pid"] == os.getpid() and processes.alive(holder)


def _is_crash(head: Head, end: WorkerExit) -> bool:
    if head["state"] in ENDED or head["state"] == "waiting":
        return False
    if end.status == ExitStatus.OVERTAKEN or end.end_reason == "overtaken":
        return False
    holder = head["holder"]
    if holder is None or is_reserved_here(holder):  # it ended before it claimed what was reserved for it
        return end.status is not None  # without one it was adopted: it gave the run back before it ended
    if not processes.is_local(holder):
        return False  # another machine has it by now
    return holder["pid"] == end.identity["pid"] or not processes.alive(holder)


def record_store_wait(store: LogStore, run: str, wait: StoreWait) -> None:
    """Write into the log that the run had to wait for the store. Raises StoreError when it still has to."""
    head = store.head(run)
    if head["state"] in ENDED:
        return
    event = draft("run.held", reason=wait.reason, seconds=round(wait.seconds, 1), tries=wait.tries)
    with suppress(Moved):  # another process wrote to it: it can be written
        store.request(run, [event], after=head["n"])


def describe_exit(end: WorkerExit) -> str:
    """The end of the worker as text for people."""
    if end.end_reason == "silence":
        return "was ended because it said nothing for longer than any of its stages may take"
    if end.end_reason == "stuck":
        return "was ended because one step of it held up all others that shared its process"
    if end.status is None:
        return "ended"
    if (name := signals.name_of_end(end.status)) is not None:
        return f"was killed by {name}"
    return f"ended with status {end.status}"


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL))
            return redactor.text(file.read().decode("utf-8", "replace"))
    except OSError:
        return ""
