"""Live streams as server-sent events, and runs as lines of JSON.

What is stored is read from the store, by offset; the change feed only says when to look, so that losing a
notification loses nothing (P1, P8). A slow reader slows only its own stream: the next read waits until the last write
has left.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence

from po_jupyter.errors import NotFound, StoreError
from po_jupyter.model.run.view import ENDED, RunView
from po_jupyter.model.values.json import JsonObject
from po_jupyter.server.routing.api import OrchestratorApi, RunsApi
from po_jupyter.server.routing.changes import NotificationApi

PING_EVERY = 15.0  # seconds; below the idle limits of the usual proxies
RUN_EVERY = 0.2  # seconds between two views of one run
SNAPSHOT = 50
PAGE = 500
_PING = b": ping\n\n"
_ENDS = frozenset({"run.done", "run.failed", "run.cancelled", "run.dead", "run.moved"})
_ABSENT = 10_000  # runs of others whose notifications are known to be none of ours
_SOON = 0.05  # seconds until events that are a moment away are read again


def frame(event: str, data: object, offset: int | None = None) -> bytes:
    """One message. JSON in ASCII, so that no line separator of Unicode can cut it."""
    head = f"id: {offset}\n" if offset is not None else ""
    return f"{head}event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def run_json(view: RunView, *, brief: bool = False) -> JsonObject:
    """A run as JSON, with `brief` without its seed. That may be large; it is JSON already and not copied."""
    return {**view.model_dump(mode="json", exclude={"seed"}), "seed": {} if brief else view.seed}


# -- one run --------------------------------------------------------------------------------------


async def run_events(
    orchestrator: OrchestratorApi, run: RunView, owner: str | None, since: int
) -> AsyncGenerator[bytes, None]:
    """The events of one run above `since`, texts in between, and `end` after the run ended and all is sent."""
    offset = since
    # The end is looked for when the last event says so, and first of all: the run may be over already.
    ended = True
    async with orchestrator.changes.subscribe(run.id) as notifications:
        yield _PING  # headers and proxies are flushed before the first event
        sent = time.monotonic()
        while True:
            try:
                events = await orchestrator.runs.events(run.id, owner, offset, PAGE)
            except NotFound:
                yield frame("gone", {"id": run.id})
                return
            if events:
                yield b"".join(frame(event["type"], event, event["offset"]) for event in events)
                offset, sent = events[-1]["offset"], time.monotonic()
                ended = events[-1]["type"] in _ENDS
                if len(events) == PAGE:
                    continue
            behind = False
            if ended:
                try:
                    view = await orchestrator.runs.get(run.id, owner, whole_seed=False)
                except NotFound:
                    continue  # the next read of events says `gone`
                if view.state in ENDED and view.last_event <= max(offset, since):
                    yield frame("end", {"state": view.state})
                    return
                ended = view.state in ENDED
                behind = view.last_event > offset  # its events are a moment away
            while True:
                until_ping = PING_EVERY - (time.monotonic() - sent)
                notification = await notifications.get(
                    max(0.01, min(until_ping, _SOON) if behind else until_ping)
                )
                if notification is None and behind:
                    break
                if notification is None:
                    yield _PING
                    sent = time.monotonic()
                    break  # look at the store all the same: a hint may have been lost
                if notification.kind == "changed":
                    break
                yield frame(notification.kind, notification.data)
                sent = time.monotonic()


# -- all runs -------------------------------------------------------------------------------------


async def all_runs(orchestrator: OrchestratorApi, owner: str | None) -> AsyncGenerator[bytes, None]:
    """A snapshot of the newest runs, then each run when it changed (at most five times a second), and texts."""
    async with orchestrator.changes.subscribe(None) as notifications:
        views, _ = await orchestrator.runs.page(owner, (), None, None, SNAPSHOT)
        yield frame("snapshot", {"runs": [run_json(view) for view in views], "limit": orchestrator.max_running})
        overview = _Overview(orchestrator.runs, owner, (view.id for view in views))
        sent = time.monotonic()
        while True:
            for run in overview.take_due():
                message = await overview.read(run)
                if message is not None:
                    yield message
                    sent = overview.was_sent(run)
            until = overview.next_due(sent + PING_EVERY)
            notification = await notifications.get(max(0.01, until - time.monotonic()))
            if notification is not None:
                message = overview.notify(notification)
            else:
                message = _PING if time.monotonic() - sent >= PING_EVERY else None
            if message is not None:
                yield message
                sent = time.monotonic()


class _Overview:
    """The runs of one stream of all runs: whose they are, and when each of them is to be read again.

    Whose a run is, is known once it was read; of a run of somebody else nothing is sent.
    """

    def __init__(self, runs: RunsApi, owner: str | None, mine: Iterable[str]) -> None:
        """`mine` are the runs that were sent already."""
        self._runs = runs
        self._owner = owner
        self._mine: dict[str, bool] = dict.fromkeys(mine, True)
        self._sent: dict[str, float] = {}
        self._due: dict[str, float] = {}

    def take_due(self) -> Iterator[str]:
        """The runs that are to be read now."""
        now = time.monotonic()
        for run in [run for run, at in self._due.items() if at <= now]:
            del self._due[run]
            yield run
        if len(self._mine) > _ABSENT:
            self._mine = {run: mine for run, mine in self._mine.items() if mine}

    def next_due(self, latest: float) -> float:
        """When a run is to be read next (monotonic seconds), `latest` at the latest."""
        return min([latest, *self._due.values()])

    async def read(self, run: str) -> bytes | None:
        """The message about a run; None for somebody else's."""
        try:
            view = await self._runs.get(run, self._owner, whole_seed=False)
        except NotFound:
            self._sent.pop(run, None)
            if self._mine.pop(run, False):
                return frame("gone", {"id": run})
            self._mine[run] = False
            return None
        except StoreError:  # the other runs go on; a list says what is wrong with this one
            return None
        self._mine[run] = view.parent is None  # a child run is shown with its parent
        if view.parent is not None:
            return None
        if view.state in ENDED:
            self._sent.pop(run, None)  # nothing more is expected; a resume is shown at once
        else:
            self._sent[run] = 0.0
        return frame("run", {"run": run_json(view)})

    def was_sent(self, run: str) -> float:
        """The message about the run has left, now; the next one waits a moment."""
        now = time.monotonic()
        if run in self._sent:
            self._sent[run] = now
        return now

    def notify(self, notification: NotificationApi) -> bytes | None:
        """Take a notification in; the message to send at once, if there is one."""
        run, now = notification.run, time.monotonic()
        if notification.kind == "text":
            if self._mine.get(run):
                return frame("text", notification.data)
            if run not in self._mine:
                self._due.setdefault(run, now)  # whose is it? the next text will know
        elif self._mine.get(run) is not False:
            self._due.setdefault(run, max(now, self._sent.get(run, 0.0) + RUN_EVERY))
        return None


# -- ended runs -----------------------------------------------------------------------------------


async def ended_runs(
    orchestrator: OrchestratorApi, owner: str | None, states: Sequence[str], pipeline: str | None
) -> AsyncGenerator[bytes, None]:
    """Each ended run as a line of JSON, the newest first; a page is read when the one before it has left."""
    cursor: str | None = None
    ended = tuple(states) or tuple(sorted(ENDED))
    while True:
        views, cursor = await orchestrator.runs.page(owner, ended, pipeline, cursor, 100)
        yield b"".join(json.dumps(run_json(view), separators=(",", ":")).encode() + b"\n" for view in views)
        if cursor is None:
            return
