"""Counters from the logs of runs: what each record that is new since the last look adds to the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from po_jupyter.errors import CorruptRow, InvalidInput, NotFound
from po_jupyter.model.run.events import EventDraft
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.run.view import ENDED
from po_jupyter.store.protocol import CallRecord, Head, ItemRecord, Record, Store
from po_jupyter.telemetry.metrics import Metrics

_KEPT = 20_000  # runs whose place is known
_ENDS = {f"run.{state}": state for state in ENDED}
_TASK_ENDS = {f"task.{state}": state for state in ("done", "failed", "skipped", "cancelled")}
_RETRIES = {"task.retrying": "task", "call.retry": "call"}
# What a run is a part of: of the map whose rows it works on, of the task whose pipeline it runs; None for a whole one.
Part: TypeAlias = Literal["map", "task"] | None


class LogCounters:
    """Adds what the logs of runs say to `metrics`. Blocks on the store: call it in a thread, one call at a time."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        """Nothing is counted yet; see `begin`."""
        self._store = store
        self._metrics = metrics
        self._counted: dict[
            str, int
        ] = {}  # the last record that was counted, of runs that changed; latest last
        self._parts: dict[str, Part] = {}
        self._requested: dict[
            tuple[str, str], str
        ] = {}  # the models of calls at work, by run and key; latest last
        self._since = ""  # the newest run of which nothing is known: what it had then is not counted

    def begin(self) -> None:
        """What is in the store now is not counted."""
        for head in self._store.active():
            self._counted[head["run"]] = head["n"]
        newest = self._store.runs(limit=1, children=True).heads
        self._since = newest[0]["run"] if newest else ""

    def count(self, run: str, limit: int) -> int:
        """Count at most `limit` records of a run; how many there were. Of a run that was there before (ids sort by
        time) and is not known, only what comes from now on."""
        try:
            head = self._store.head(run)
            if run not in self._counted and run <= self._since:
                self._counted[run] = head["n"]  # it ended before, and goes on
                return 0
            after = self._counted.get(run, 0)
            records = list(self._store.records(run, after=after, limit=limit))
            part = self._part_of(head) if records else None
        except (NotFound, CorruptRow, InvalidInput):  # gone, or no id: anybody in the database may notify
            self._counted.pop(run, None)
            return 0
        for record in records:
            self._add(run, record, part)
        self._remember(head, records[-1]["n"] if records else after)
        return len(records)

    def _remember(self, head: Head, n: int) -> None:
        self._counted.pop(head["run"], None)  # to the end
        self._counted[head["run"]] = n
        # One that has ended may be resumed: its place is kept until it is the one of many that was quiet the longest.
        while len(self._counted) > _KEPT:
            quiet = next(iter(self._counted))
            del self._counted[quiet]
            self._since = max(self._since, quiet)

    def _part_of(self, head: Head) -> Part:
        """What the run is a part of."""
        run = head["run"]
        if "parent" not in head:
            return None
        if run not in self._parts:
            self._parts[run] = "map" if self._store.definition(run).get("parent") is not None else "task"
            if len(self._parts) > _KEPT:
                del self._parts[next(iter(self._parts))]
        return self._parts[run]

    def _add(self, run: str, record: Record, part: Part) -> None:
        """A call is counted where it was made; rows and lost calls of a map in the log of the map, to which those of
        its child runs are copied; the end of a run for the whole alone, that of a task where it is one."""
        for event in record["events"]:
            kind = event["type"]
            if (part and kind in _ENDS) or (part == "map" and (kind in _TASK_ENDS or kind == "call.unknown")):
                continue
            self._add_event(event)
        for item in record["items"] if part != "map" else ():
            self._add_item(item)
        for call in record["calls"]:
            if not call.get("shard"):
                self._add_call(run, call)

    def _add_event(self, event: EventDraft) -> None:
        kind = event["type"]
        if (state := _ENDS.get(kind)) is not None:
            self._metrics.runs_ended.labels(state).inc()
        elif (state := _TASK_ENDS.get(kind)) is not None:
            if not event["data"].get("copied"):
                self._metrics.tasks.labels(state).inc()
        elif (of := _RETRIES.get(kind)) is not None:
            self._metrics.retries.labels(of).inc()
        elif kind == "task.waiting" and event["data"].get("reason"):
            self._metrics.waits.inc()
        elif kind == "call.unknown":  # of one call, or of all that an attempt or a child run lost
            self._metrics.unknown.inc(max(0, event["data"]["usage"].get("unknown", 0)))
        elif kind == "worker.crashed":
            self._metrics.crashes.inc()

    def _add_item(self, item: ItemRecord) -> None:
        state = "reused" if "reused" in item else "done" if item["ok"] else "failed"
        self._metrics.rows.labels(state).inc()

    def _add_call(self, run: str, call: CallRecord) -> None:
        requested = self._requested.pop((run, call["key"]), "")
        if call["kind"] == "intent":
            self._requested[run, call["key"]] = call["model"]
            if len(self._requested) > _KEPT:
                del self._requested[next(iter(self._requested))]
        if call["kind"] != "response":
            return
        response = call.get("response") or {}
        # A call that failed has no answer to say the model: it is as the request has it, `provider:model`.
        requested = str(call.get("model") or requested).partition(":")[2]
        model = self._metrics.model(str(response.get("model") or requested))
        if call.get("cached"):
            self._metrics.calls.labels(model, "cached").inc()
            return
        self._metrics.calls.labels(model, "done" if call["ok"] else "failed").inc()
        if call["ok"]:
            if "batch" not in call:  # whose answers come hours later, and were nobody's wait
                self._metrics.call_seconds.labels(model).observe(float(response.get("seconds") or 0.0))
            self._add_usage(model, response.get("usage") or {})

    def _add_usage(self, model: str, usage: Mapping[str, Any]) -> None:
        used = Usage().plus(usage)
        kinds = {
            "input": used.input_tokens, "cached": used.cached_tokens,
            "output": used.output_tokens, "reasoning": used.reasoning_tokens,
        }  # fmt: skip
        for kind, tokens in kinds.items():
            self._metrics.tokens.labels(model, kind).inc(max(0, tokens))
        if used.cost is None:
            self._metrics.unpriced.labels(model).inc()
        else:
            self._metrics.cost.labels(model).inc(max(0.0, used.cost))
