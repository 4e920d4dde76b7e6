"""The history of a run: everything of its log that a worker needs, read once when it takes the run over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from po_jupyter.engine.base.usage_sum import UsageSum
from po_jupyter.engine.replay.row_table import MapOutput, RowTable
from po_jupyter.engine.replay.spent_from_log import SpentFromLog
from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.resume import KEPT_FAILURES, keeps_unchanged
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import ModelKeyError
from po_jupyter.model.run.events import EventDraft, NumberedEvent
from po_jupyter.model.run.row_spans import parse_spans
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.protocol import (
    CallRecord,
    CallResponse,
    CallResponseDraft,
    ItemDraft,
    ItemRecord,
    LogStore,
    Record,
)

_BATCH_ENDED = frozenset({"batch.closed", "batch.dropped"})
_ATTEMPT_ENDED = frozenset({"task.done", "task.failed", "task.retrying"})


@dataclass(slots=True)
class JournaledCall:
    """One call of the journal.

    intents   how often it was about to be sent
    answer    reference to the text of its answer
    response  the record of its answer or error; None: nothing but intents
    reported  intents whose outcome a `call.unknown` reported as lost, before or with the intent after them; it stays
              when that one is withdrawn
    counted   the usage of the answer was reported by a `call.unknown` of the row: its outcome leaves it out
    """

    intents: int = 0
    answer: list[int] | None = None
    response: CallResponse | CallResponseDraft | None = None
    reported: int = 0
    counted: bool = False


@dataclass(slots=True)
class History:
    """The run up to record `n`, and what the worker adds to it of its rows and calls.

    rows       outcomes of rows that count, by map
    calls      calls that may have to answer again, by task, row (None: the task itself) and key
    uncounted  usage of rows that no `map.progress` reported, by map: a crash came between
    reused     rows whose outcome was copied from an earlier run, by map
    artifacts  files of rows that count, by map and row
    started    the number of the last attempt, by task
    replays    by task, (the attempt after an interrupted one, the attempt in the keys of its calls)
    redone     rows that failed and are open again, by map: the last attempt, as in keys, that their calls had
    asked      rows that the last resume named, by map: no other row is asked for
    anew       of these maps the rows that are asked for had an answer, and none of an earlier run is wanted
    renewed    maps that are done again because rows before them are: what did not change in them is not paid again
    void       by map and open batch, rows that a resume opened again after the batch had given them an outcome: the
               answers that it has for them count no more
    alone      rows that the first model of a cascade with a learned threshold answered without the second, by map
    places     where in their list of the seed the rows of a map are, by map and row; none where the map has its order
    hits       by request hash, how many answers of the call cache were used by calls that are gone through no more
    only_failed  whether the last resume asked for rows that failed
    listed     every artifact (`files.artifacts.Artifact`) that a commit ever listed
    """

    state: RunState
    rows: dict[str, RowTable] = field(default_factory=dict)
    calls: dict[str, dict[int | None, dict[str, JournaledCall]]] = field(default_factory=dict)
    uncounted: dict[str, UsageSum] = field(default_factory=dict)
    reused: Counter[str] = field(default_factory=Counter)
    artifacts: dict[str, dict[int, list[Any]]] = field(default_factory=dict)
    started: dict[str, int] = field(default_factory=dict)
    replays: dict[str, tuple[int, int]] = field(default_factory=dict)
    redone: dict[str, dict[int, int]] = field(default_factory=dict)
    asked: dict[str, frozenset[int]] = field(default_factory=dict)
    anew: set[str] = field(default_factory=set)
    renewed: set[str] = field(default_factory=set)
    void: dict[str, dict[str, set[int]]] = field(default_factory=dict)
    alone: dict[str, set[int]] = field(default_factory=dict)
    places: dict[str, dict[int, int]] = field(default_factory=dict)
    hits: dict[str, int] = field(default_factory=dict)
    only_failed: bool = False
    listed: list[Any] = field(default_factory=list)
    spent: SpentFromLog = field(default_factory=SpentFromLog)
    n: int = 0

    def table(self, task: str) -> RowTable:
        """The outcomes of a map's rows."""
        return self.rows.setdefault(task, RowTable())

    def call(self, key: str) -> JournaledCall | None:
        """The call of that key, if it may have to answer again."""
        if not self.calls:
            return None
        task, index = _task_and_row(key)
        return self.calls.get(task, {}).get(index, {}).get(key)

    def remember_call(self, key: str, call: JournaledCall) -> None:
        """Keep a call of this worker, for a row that is left and taken up again in the same process."""
        task, index = _task_and_row(key)
        self.calls.setdefault(task, {}).setdefault(index, {})[key] = call

    def forget_calls(self, task: str, index: int) -> None:
        """Drop the calls of a row that has an outcome."""
        if (rows := self.calls.get(task)) is not None:
            rows.pop(index, None)

    def journal_attempt(self, task: str, attempt: int) -> int:
        """The attempt in the keys of calls of an attempt: its own, or that of the interrupted one whose answers it
        replays."""
        after, journal = self.replays.get(task, (0, 0))
        return journal if attempt == after else attempt

    def apply_report(self, event: EventDraft) -> None:
        """Have the calls that a `call.unknown` covers as reported."""
        covers = event["data"].get("covers")
        if covers is None:
            return  # it came with the intent after the lost one, which says so
        every = covers == "all" and event.get("item") is None
        rows = event["data"].get("rows")
        within = None if rows is None else frozenset(parse_spans(rows))
        for index, calls in self.calls.get(event.get("task") or "", {}).items():
            if (not every and index != event.get("item")) or (within is not None and index not in within):
                continue
            for key, call in calls.items():
                if covers in ("all", attempt_of_key(key)):
                    call.counted = call.response is not None
                    call.reported = call.intents

    def note_alone(self, item: ItemRecord | ItemDraft) -> None:
        """Note of a row with an outcome whether it is one of `alone`."""
        if item.get("alone"):
            self.alone.setdefault(item["task"], set()).add(item["index"])
        elif item["task"] in self.alone:
            self.alone[item["task"]].discard(item["index"])

    def count_reused(self, task: str) -> None:
        """Count a row of a map whose outcome is copied from an earlier run."""
        self.reused[task] += 1

    def take_uncounted(self, task: str) -> UsageSum:
        """The usage of rows that no `map.progress` reported, to be reported with the next one."""
        return self.uncounted.pop(task, UsageSum())


def read_history(store: LogStore, run: str) -> History:
    """Read the log of a run. Blocks. Raises NotFound."""
    history = History(RunState(run))
    events: list[NumberedEvent] = []
    for record in store.records(run):
        _apply_record(history, record)
        history.spent.apply(record)
        offset = record["first"]
        for i, event in enumerate(record["events"]):
            events.append({**event, "offset": offset + i})
        history.n = record["n"]
    history.state = fold(history.state, events)
    return history


def _apply_record(history: History, record: Record) -> None:
    for call in record["calls"]:
        _apply_call(history, call)
    for item in record["items"]:
        _apply_item(history, item, record["n"])
    for event in record["events"]:
        if event["type"] in _ATTEMPT_ENDED:
            _apply_attempt_end(history, event)
        elif event["type"] == "map.progress":
            if usage := event["data"].get("usage"):
                history.uncounted.setdefault(event["task"], UsageSum()).add_json(usage, -1)
        elif event["type"] == "task.started":
            history.started[event["task"]] = event["data"].get("attempt", 1)
        elif event["type"] == "call.unknown":
            history.apply_report(event)
        elif event["type"] == "run.resumed":
            _apply_resume(history, event["data"])
        elif event["type"] == "batch.prepared":
            history.void.setdefault(event["task"], {})[event["data"]["token"]] = set()
        elif event["type"] in _BATCH_ENDED:
            history.void.get(event["task"], {}).pop(event["data"]["token"], None)


def _apply_call(history: History, record: CallRecord) -> None:
    task, index = _task_and_row(record["key"])
    calls = history.calls.setdefault(task, {}).setdefault(index, {})
    call = calls.setdefault(record["key"], JournaledCall())
    if record["kind"] == "intent":
        call.reported = max(call.reported, call.intents)
        call.intents += 1
    elif record["kind"] == "withdrawn" or _is_of_key(record):
        call.intents -= 1  # nothing was billed: with another key it is made
    else:
        call.answer, call.response = record.get("answer"), record


def _is_of_key(record: CallResponse) -> bool:
    return not record["ok"] and record["error"].get("code") == ModelKeyError.code


def _apply_item(history: History, item: ItemRecord, n: int) -> None:
    task, index = item["task"], item["index"]
    table = history.rows.get(task)
    if table is None:
        table = history.rows[task] = RowTable()
    table.apply(item, n)
    if item.get("reused"):
        history.reused[task] += 1
    history.note_alone(item)
    if (place := item.get("row")) is not None:
        history.places.setdefault(task, {})[index] = place
    if artifacts := item.get("artifacts"):
        history.artifacts.setdefault(task, {})[index] = artifacts
        history.listed += artifacts
    if usage := item.get("usage"):
        history.uncounted.setdefault(task, UsageSum()).add_json(usage)
    calls = history.calls.get(task, {}).pop(index, None)  # a row with an outcome is not gone through again
    redone = history.redone.setdefault(task, {})
    if item["ok"]:
        redone.pop(index, None)
        _count_hits(history, calls)
    elif calls:
        redone[index] = max(map(attempt_of_key, calls))


def _apply_attempt_end(history: History, event: EventDraft) -> None:
    """Drop the calls of an attempt: another one asks anew, and replaces what this one put into the cache."""
    error = event["data"].get("error") or {}
    if event["type"] == "task.failed" and error.get("code") in KEPT_FAILURES:
        return  # a resume decides
    calls = history.calls.pop(event.get("task") or "", {})
    if event["type"] == "task.done":
        _count_hits(history, calls.get(None))
    history.listed += event["data"].get("artifacts") or ()


def _apply_resume(history: History, data: JsonObject) -> None:
    rows = data.get("rows") or {}
    for task in data.get("clear", ()):
        (history.renewed.add if keeps_unchanged(data) else history.renewed.discard)(task)
        history.rows.pop(task, None)
        history.reused.pop(task, None)
        history.artifacts.pop(task, None)
        history.places.pop(task, None)
        history.alone.pop(task, None)
    if "reset" in data:  # not when a gate was approved
        history.only_failed = bool(data.get("only_failed"))
    kept = data.get("keep", ())
    for task in data.get("reset", ()):
        last = history.started.get(task, 0)
        if task in kept:
            history.replays[task] = last + 1, history.journal_attempt(task, last)
        else:
            history.calls.pop(task, None)
            history.redone.pop(task, None)
            history.replays.pop(task, None)
        again = rows.get(task)
        history.asked.pop(task, None)
        history.anew.discard(task)
        if again is not None:
            history.asked[task] = frozenset(parse_spans(again["rows"]))
            if again["done"]:
                history.anew.add(task)
        if task in history.rows:
            reopened = history.rows[task].reopen(again)
            history.alone.get(task, set[int]()).difference_update(reopened)
            for rows_of_batch in history.void.get(task, {}).values():
                rows_of_batch.update(reopened)


def _count_hits(history: History, calls: Mapping[str, JournaledCall] | None) -> None:
    for key, call in (calls or {}).items():
        if call.response is not None and (place := call.response.get("place")) is not None:
            digest = key.split("/")[-2]
            history.hits[digest] = max(history.hits.get(digest, 0), place + 1)


def attempt_of_key(key: str) -> int:
    """The attempt in a call's key."""
    return int(key.split("/", 3)[2])


def _task_and_row(key: str) -> tuple[str, int | None]:
    task, index, _ = key.split("/", 2)
    return task, None if index == "-" else int(index)


MAP = "$map"


def map_marker(task: str, total: int, variants: Sequence[str] = ()) -> JsonObject:
    """The output that `task.done` of a map keeps: its rows are stored already, each with its outcome."""
    return {MAP: task, "total": total, **({"variants": list(variants)} if variants else {})}


def _is_marker(value: Any) -> TypeGuard[JsonObject]:
    return isinstance(value, dict) and value.keys() - {"variants"} == {MAP, "total"}


def map_of_marker(value: Any) -> str | None:
    """The map whose rows a `map_marker` stands for; None for any other value."""
    return value[MAP] if _is_marker(value) else None


def expand_output(store: LogStore, run: str, value: Any, rows: RowTable | None = None) -> Any:
    """An output as people see it: for a `map_marker` the list of `{index, ok, output, error}`, read row by row;
    with variants also `variant` and `row`, the number in the list of what the row is about.

    `rows` are the outcomes of that map; read from the log when None. Ask only for the output of a map: a model's
    answer may look like a marker.
    """
    if not _is_marker(value):
        return value
    task: str = value[MAP]
    if rows is None:
        rows = read_history(store, run).rows.get(task, RowTable())
    return MapOutput(store, run, task, rows, value["total"], value.get("variants", ()))
