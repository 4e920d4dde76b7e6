"""The course of a run: spans of its tasks' attempts and stages, from its events."""

from __future__ import annotations

from datetime import datetime
from typing import NotRequired, TypedDict

from po_jupyter.model.run.events import EventDraft
from po_jupyter.store.protocol import Record

MOST_SPANS = 5000
_ENDS = {
    "task.done": "done", "task.failed": "failed", "task.retrying": "failed", "task.skipped": "skipped",
    "task.cancelled": "cancelled",
}  # fmt: skip
_RUN_ENDS = frozenset({"run.failed", "run.cancelled", "run.dead", "run.done", "run.waiting", "run.moved"})


class Span(TypedDict):
    """A stage of an attempt of a task; `stage` None: before its first stage, or a wait at a gate. Times are ISO 8601,
    `ended_at` None while it goes on. `wait` is the seconds that it waited as far as they were announced, of a wait at a
    gate all of them once it is over; `reason` for what. `rows` of a map: `[done, failed, total]`."""

    task: str
    stage: str | None
    attempt: int
    state: str
    started_at: str
    ended_at: str | None
    wait: float
    reason: str | None
    rows: NotRequired[list[int]]


class Timeline:
    """Spans in the order in which they began; fed with the records of a run in order. Beyond `MOST_SPANS` no further
    one is kept, and `cut` says so."""

    def __init__(self) -> None:
        """Without spans."""
        self.spans: list[Span] = []
        self.cut = False
        self._open: dict[str, Span] = {}
        self._attempts: dict[str, int] = {}

    def apply(self, record: Record) -> None:
        """Take in the events of one record."""
        for event in record["events"]:
            self._apply(event)

    def _apply(self, event: EventDraft) -> None:
        kind, at, data, task = event["type"], event["at"], event["data"], event.get("task")
        if task is None:
            if kind in _RUN_ENDS:
                self._end_all(kind.partition(".")[2], at)
            elif kind in ("worker.crashed", "run.resumed"):
                self._end_all("failed", at)
        elif kind == "task.started":
            self._end(task, "failed", at)  # its worker ended without a word
            self._attempts[task] = data.get("attempt", self._attempts.get(task, 0) + 1)
            self._begin(task, None, at)
        elif kind in ("task.stage", "map.started"):
            self._begin_stage(task, event)
        elif kind == "gate.opened":
            gate = self._begin(task, None, at)
            gate["state"], gate["reason"] = "waiting", "a decision"
        elif kind in _ENDS or kind == "gate.decided":
            self._end(task, _ENDS.get(kind, "done"), at)
        else:
            self._note(task, event)

    def _begin_stage(self, task: str, event: EventDraft) -> None:
        before = self._open.get(task)
        if before is not None and before["stage"] is None:
            before["stage"] = event["data"].get("stage")  # the attempt has begun with it
        elif before is None or before["stage"] != event["data"].get("stage"):
            self._end(task, "done", event["at"])
            self._begin(task, event["data"].get("stage"), event["at"])
        if event["type"] == "map.started":
            self._open[task]["rows"] = [0, 0, event["data"]["total"]]

    def _note(self, task: str, event: EventDraft) -> None:
        span, data = self._open.get(task), event["data"]
        if span is None:
            return
        if event["type"] == "map.progress":
            total = span.get("rows", [0, 0, data["done"] + data["failed"]])[2]
            span["rows"] = [data["done"], data["failed"], total]
        elif event["type"] in ("task.waiting", "call.retry") and data.get("reason") is not None:
            span["wait"] = round(span["wait"] + float(data.get("seconds") or 0.0), 3)
            span["reason"] = str(data["reason"])

    def _begin(self, task: str, stage: str | None, at: str) -> Span:
        span: Span = {
            "task": task, "stage": stage, "attempt": self._attempts.get(task, 1), "state": "running",
            "started_at": at, "ended_at": None, "wait": 0.0, "reason": None,
        }  # fmt: skip
        self._open[task] = span
        if len(self.spans) < MOST_SPANS:
            self.spans.append(span)
        else:
            self.cut = True
        return span

    def _end(self, task: str, state: str, at: str) -> None:
        span = self._open.pop(task, None)
        if span is not None:
            if span["state"] == "waiting":
                waited = datetime.fromisoformat(at) - datetime.fromisoformat(span["started_at"])
                span["wait"] = round(max(0.0, waited.total_seconds()), 3)
            span["state"], span["ended_at"] = state, at

    def _end_all(self, state: str, at: str) -> None:
        for task, span in list(self._open.items()):
            if state != "waiting" or span["stage"] is not None:
                self._end(task, state, at)
