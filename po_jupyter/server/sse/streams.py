"""Live streams as server-sent events.

What is stored is read from the store, by offset; the feed only says when to look, so that losing a note loses
nothing (P1, P8). A slow reader slows only its own stream: the next read waits until the last write has left.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from typing import Any, Protocol

from po_jupyter.errors import NotFound
from po_jupyter.model.run.view import ENDED, RunView

PING_EVERY = 15.0  # seconds; below the idle limits of the usual proxies
RUN_EVERY = 0.2  # seconds between two views of one run
SNAPSHOT = 50
PAGE = 500
_PING = b": ping\n\n"
_ENDS = frozenset({"run.done", "run.failed", "run.cancelled", "run.dead"})
_ABSENT = 10_000  # runs of others whose notes are known to be none of ours


class Subscription(Protocol):
    """What the orchestrator's feed hands out. A note is ("changed", run id), ("text", {run, task, ...}) or ("held",
    {run, reason}): it waits for the store, which its log cannot say."""

    async def get(self, timeout: float) -> tuple[str, Any] | None:  # noqa: ASYNC109 - the feed's
        """The next note; None after `timeout` seconds."""


def frame(event: str, data: Any, offset: int | None = None) -> bytes:
    """One message. JSON in ASCII, so that no line separator of Unicode can cut it."""
    head = f"id: {offset}\n" if offset is not None else ""
    return f"{head}event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


async def run_events(
    orchestrator: Any, run: RunView, owner: str | None, since: int
) -> AsyncGenerator[bytes, None]:
    """The events of one run above `since`, texts in between, and `end` after the run ended and all is sent."""
    offset = since
    # The end is looked for when the last event says so, and first of all: the run may be over already.
    ended = True
    async with orchestrator.feed.subscribe(run.id) as notes:
        yield _PING  # headers and proxies are flushed before the first event
        spoke = time.monotonic()
        while True:
            try:
                events = await orchestrator.events(run.id, owner, offset, PAGE)
            except NotFound:
                yield frame("gone", {"id": run.id})
                return
            if events:
                yield b"".join(frame(event["type"], event, event["offset"]) for event in events)
                offset, spoke = events[-1]["offset"], time.monotonic()
                ended = events[-1]["type"] in _ENDS
                if len(events) == PAGE:
                    continue
            behind = False
            if ended:
                try:
                    view = await orchestrator.get(run.id, owner, whole_seed=False)
                except NotFound:
                    continue  # the next read of events says `gone`
                if view.state in ENDED and view.last_event <= max(offset, since):
                    yield frame("end", {"state": view.state})
                    return
                ended = view.state in ENDED
                behind = view.last_event > offset  # its events are a moment away
            while True:
                left = PING_EVERY - (time.monotonic() - spoke)
                note = await notes.get(max(0.01, min(left, 0.05) if behind else left))
                if note is None and behind:
                    break
                if note is None:
                    yield _PING
                    spoke = time.monotonic()
                    break  # look at the store all the same: a hint may have been lost
                if note[0] == "changed":
                    break
                yield frame(*note)
                spoke = time.monotonic()


async def all_runs(orchestrator: Any, owner: str | None) -> AsyncGenerator[bytes, None]:
    """A snapshot of the newest runs, then each run when it changed (at most five times a second), and texts."""
    async with orchestrator.feed.subscribe(None) as notes:
        views, _ = await orchestrator.list(owner, (), None, None, SNAPSHOT)
        limit = orchestrator.meta().get("limits", {}).get("running")
        yield frame("snapshot", {"runs": [dump(view) for view in views], "limit": limit})
        known: dict[str, bool] = {view.id: True for view in views}
        sent: dict[str, float] = {}
        due: dict[str, float] = {}
        spoke = time.monotonic()
        while True:
            now = time.monotonic()
            for run_id in [run_id for run_id, at in due.items() if at <= now]:
                del due[run_id]
                try:
                    view = await orchestrator.get(run_id, owner, whole_seed=False)
                except NotFound:
                    sent.pop(run_id, None)
                    if known.pop(run_id, False):
                        yield frame("gone", {"id": run_id})
                        spoke = time.monotonic()
                    else:
                        known[run_id] = False  # somebody else's
                    continue
                known[run_id] = True
                yield frame("run", {"run": dump(view)})
                spoke = sent[run_id] = time.monotonic()
                if view.state in ENDED:
                    sent.pop(run_id)  # nothing more is expected; a resume is shown at once
            if len(known) > _ABSENT:
                known = {run_id: mine for run_id, mine in known.items() if mine}
            now = time.monotonic()
            until = min([spoke + PING_EVERY, *due.values()])
            note = await notes.get(max(0.01, until - now))
            if note is None:
                if time.monotonic() - spoke >= PING_EVERY:
                    yield _PING
                    spoke = time.monotonic()
                continue
            kind, what = note
            if kind in ("changed", "held"):
                what = what["run"] if kind == "held" else what
                if known.get(what) is not False:
                    due.setdefault(what, max(now, sent.get(what, 0.0) + RUN_EVERY))
            elif kind == "text":
                if what["run"] not in known:
                    due.setdefault(what["run"], now)  # whose is it? the next text will know
                elif known[what["run"]]:
                    yield frame("text", what)
                    spoke = time.monotonic()


def dump(view: RunView) -> dict[str, Any]:
    """A run as JSON. Its seed, which may be large, is JSON already and not copied."""
    return {**view.model_dump(mode="json", exclude={"seed"}), "seed": view.seed}


async def ended_runs(
    orchestrator: Any, owner: str | None, states: tuple[str, ...], pipeline: str | None
) -> AsyncGenerator[bytes, None]:
    """Each ended run as a line of JSON, the newest first; a page is read when the one before it has left."""
    cursor: str | None = None
    while True:
        views, cursor = await orchestrator.list(owner, states or tuple(sorted(ENDED)), pipeline, cursor, 100)
        yield b"".join(json.dumps(dump(view), separators=(",", ":")).encode() + b"\n" for view in views)
        if cursor is None:
            return
