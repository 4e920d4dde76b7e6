"""What the orchestrator itself writes about a run when no worker can: its end, its crash, its death.

Every function blocks on the store: call them in a thread. Each claims the run first, so that a worker that
is not as dead as it looked is fenced out.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import structlog

from po_jupyter.engine.state.decide import End, decide
from po_jupyter.errors import Moved, PoError, WorkerCrashed
from po_jupyter.ipc.channel import OVERTAKEN
from po_jupyter.model.run.events import draft, event_draft
from po_jupyter.model.run.view import ENDED
from po_jupyter.orchestrator.views.projections import Views
from po_jupyter.orchestrator.workers.store_backoff import Held
from po_jupyter.platform import processes
from po_jupyter.store.protocol import Commit, Head, LogStore
from po_jupyter.telemetry.logging import redactor

log = structlog.get_logger("po_jupyter.ending")

_TAIL = 2000  # characters of a worker's log that its crash keeps


class Exit(NamedTuple):
    """How a worker ended. `status` is None when only somebody else could have known it."""

    identity: processes.Identity
    status: int | None
    killed: str | None
    run_dir: Path


def settle(store: LogStore, views: Views, run: str) -> tuple[Literal["pending", "waiting", "ended"], Head]:
    """What a run without a worker needs: `pending` (a worker), nothing while it waits, or to be ended, which is
    done here when nothing but its end is left (a cancel, a rejected gate)."""
    head = store.head(run)
    if head["state"] in ENDED:
        return "ended", head
    state = views.state(head)
    rejected = any(t.gate == "rejected" for t in state.tasks.values())
    if (state.cancel_requested or rejected) and state.open_batches and head["state"] != "waiting":
        return "pending", head  # a worker cancels them at their provider and keeps what is finished
    if state.cancel_requested or rejected:
        step = decide(views.pipeline(run), state)[0]
        assert isinstance(step, End)
        return "ended", _end(store, run, f"run.{step.state}", step.state, step.error)
    if head["state"] == "waiting":
        if any(t.gate == "open" for t in state.tasks.values()):
            return "waiting", head
        # The decision came while the worker was about to leave: nothing else would wake the run.
        head = store.request(run, [draft("run.resumed", by="gate")], "pending")
    return "pending", head


def _end(store: LogStore, run: str, event: str, state: str, error: dict[str, Any] | None) -> Head:
    lease = store.claim(run, processes.myself())
    said = event_draft(event, None, None, {"error": error} if error else {})
    return store.commit(lease, Commit(events=[said], state=state, release=True))


def dead(store: LogStore, run: str, error: PoError) -> None:
    """End the run as dead, whatever it was doing."""
    if store.head(run)["state"] not in ENDED:
        _end(store, run, "run.dead", "dead", error.to_json())


def crashed(store: LogStore, views: Views, run: str, end: Exit, max_crashes: int) -> int | None:
    """Record that the worker of this run ended without a last word.

    Answers the number of crashes in a row, or None when there was none: the run had left it already,
    somebody else works on it, or we ended it ourselves for a cancel.
    """
    head = store.head(run)
    if head["state"] in ENDED or head["state"] == "waiting":
        return None
    holder = head["holder"]
    if holder is None and end.status is None:
        return None  # an adopted one: it gave the run back before it ended
    if holder is not None and holder["pid"] != end.identity["pid"] and processes.alive(holder):
        return None
    if end.status == OVERTAKEN:
        return None
    lease = store.claim(run, processes.myself())
    state = views.state(store.head(run))
    if state.cancel_requested and not state.open_batches:
        store.commit(lease, Commit(events=[draft("run.cancelled")], state="cancelled", release=True))
        return None
    crashes = state.crashes + 1
    at_work = [
        {"task": t.name, "stage": t.stage, "attempt": t.attempt}
        for t in state.tasks.values()
        if t.state == "running"
    ]
    error = WorkerCrashed(
        f"the worker of this run {words(end)}" + (f", {crashes} times in a row" if crashes > 1 else ""),
        hint=f"Its log: {end.run_dir / 'worker.log'}",
        details={
            "status": end.status, "crashes": crashes, "log": _tail(end.run_dir / "worker.log"), "tasks": at_work
        },
    ).to_json()  # fmt: skip
    for at in at_work or [{}]:
        log.error("worker crashed", run=run, pid=end.identity["pid"], how=words(end), crashes=crashes, **at)
    events = [draft("worker.crashed", error=error, crashes=crashes)]
    if crashes >= max_crashes:
        events.append(draft("run.dead", error=error))
        store.commit(lease, Commit(events=events, state="dead", release=True))
    else:
        store.commit(lease, Commit(events=events, release=True))
    return crashes


def write_held(store: LogStore, run: str, held: Held) -> None:
    """Say in the log that the run had to wait for the store. Raises StoreError when it still has to."""
    head = store.head(run)
    if head["state"] in ENDED:
        return
    said = draft("run.held", reason=held.reason, seconds=round(held.seconds, 1), tries=held.tries)
    with suppress(Moved):  # somebody else wrote to it: it can be written
        store.request(run, [said], after=head["n"])


def words(end: Exit) -> str:
    """How it ended, for people."""
    if end.killed == "silence":
        return "was ended because it said nothing for longer than any of its stages may take"
    if end.status is None:
        return "ended"
    if end.status < 0:
        try:
            name = signal.Signals(-end.status).name
        except ValueError:
            name = f"signal {-end.status}"
        return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"ended with status {end.status}"


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL))
            return redactor.text(file.read().decode("utf-8", "replace"))
    except OSError:
        return ""
