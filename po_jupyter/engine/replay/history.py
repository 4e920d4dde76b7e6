"""What the log of a run says, read once when a worker takes the run over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from po_jupyter.engine.base.usage_sum import UsageSum
from po_jupyter.engine.replay.row_table import MapOutput, RowTable
from po_jupyter.engine.replay.spent_from_log import SpentFromLog
from po_jupyter.engine.state.fold import fold
from po_jupyter.engine.state.run_state import RunState
from po_jupyter.model.run.events import NumberedEvent
from po_jupyter.store.protocol import CallResponse, CallResponseDraft, LogStore, Record


@dataclass(slots=True)
class JournaledCall:
    """A call of the journal. `answer` None: nothing but intents. `response` is the record of the answer. `told`: of
    how many intents a `call.unknown` was said; it came with the intent after them, and stays when that is withdrawn.
    """

    intents: int = 0
    answer: list[int] | None = None
    response: CallResponse | CallResponseDraft | None = None
    told: int = 0


@dataclass(slots=True)
class History:
    """State, row outcomes that count (by task and index), calls that may have to answer again, and `n`.

    `uncounted` is what rows used that no `map.progress` has said yet: a crash came between. `hits` is, by request
    hash, how many answers of the cache are gone: calls that are not gone through again have them.
    """

    state: RunState
    rows: dict[str, RowTable] = field(default_factory=dict)
    calls: dict[str, dict[int | None, dict[str, JournaledCall]]] = field(default_factory=dict)
    uncounted: dict[str, UsageSum] = field(default_factory=dict)
    reused: Counter[str] = field(default_factory=Counter)  # rows of a map that an earlier run paid for
    artifacts: dict[str, dict[int, list[Any]]] = field(default_factory=dict)  # of rows that count
    hits: dict[str, int] = field(default_factory=dict)
    listed: list[Any] = field(default_factory=list)  # every artifact that a commit ever listed
    spent: SpentFromLog = field(default_factory=SpentFromLog)
    n: int = 0

    def table(self, task: str) -> RowTable:
        """Outcomes of a map's rows that count."""
        return self.rows.setdefault(task, RowTable())

    def call(self, key: str) -> JournaledCall | None:
        """The call of that key, if it may have to answer again."""
        task, item = _place(key)
        return self.calls.get(task, {}).get(item, {}).get(key)


def read_history(store: LogStore, run: str) -> History:
    """Fold the log of a run. Raises NotFound."""
    history = History(RunState(run))
    events: list[NumberedEvent] = []
    for record in store.records(run):
        _take(history, record)
        history.spent.take(record)
        offset = record["first"]
        for i, event in enumerate(record["events"]):
            events.append({**event, "offset": offset + i})
        history.n = record["n"]
    history.state = fold(history.state, events)
    return history


def _take(history: History, record: Record) -> None:
    calls = history.calls
    for call in record["calls"]:
        task, item = _place(call["key"])
        known = calls.setdefault(task, {}).setdefault(item, {}).setdefault(call["key"], JournaledCall())
        if call["kind"] == "intent":
            known.told = max(known.told, known.intents)
            known.intents += 1
        elif call["kind"] == "withdrawn":
            known.intents -= 1
        else:
            known.answer, known.response = call.get("answer"), call
    for row in record["items"]:
        task, index = row["task"], row["index"]
        table = history.rows.get(task)
        if table is None:
            table = history.rows[task] = RowTable()
        table.take(row, record["n"])
        if row.get("reused"):
            history.reused[task] += 1
        if wrote := row.get("artifacts"):
            history.artifacts.setdefault(task, {})[index] = wrote
            history.listed += wrote
        if usage := row.get("usage"):
            history.uncounted.setdefault(task, UsageSum()).add_json(usage)
        gone = calls.get(task, {}).pop(index, None)  # a row with an outcome is not gone through again
        if row["ok"]:
            _over(history, gone)
    for event in record["events"]:
        kind, data = event["type"], event.get("data") or {}
        if kind in ("task.done", "task.failed", "task.retrying", "task.cancelled"):
            ended = calls.pop(
                event.get("task") or "", {}
            )  # another attempt asks anew, and replaces what it had
            if kind == "task.done":
                _over(history, ended.get(None))
            history.listed += data.get("artifacts") or ()
        elif kind == "map.progress" and data.get("usage"):
            history.uncounted.setdefault(event["task"], UsageSum()).add_json(data["usage"], -1)
        elif kind == "run.resumed":
            for task in data.get("clear", ()):
                history.rows.pop(task, None)
                history.reused.pop(task, None)
                history.artifacts.pop(task, None)
            for task in data.get("reset", ()):
                calls.pop(task, None)
                if task in history.rows:
                    history.rows[task].drop_failed()


def _over(history: History, calls: Mapping[str, JournaledCall] | None) -> None:
    for key, call in (calls or {}).items():
        if call.response is not None and (place := call.response.get("place")) is not None:
            digest = key.split("/")[-2]
            history.hits[digest] = max(history.hits.get(digest, 0), place + 1)


def _place(key: str) -> tuple[str, int | None]:
    task, item, _ = key.split("/", 2)
    return task, None if item == "-" else int(item)


MAP = "$map"


def map_marker(task: str, total: int) -> dict[str, Any]:
    """What `task.done` of a map keeps: its rows are stored already, each with its outcome."""
    return {MAP: task, "total": total}


def expand_output(store: LogStore, run: str, value: Any, rows: RowTable | None = None) -> Any:
    """An output as people see it: the list of `{index, ok, output, error}`, read row by row, where `value` stands
    for a map's.

    `rows` are the outcomes of that map; read from the log when not given. Ask only for the output of a map:
    what a model answers may look the same.
    """
    task = map_of_marker(value)
    if task is None:
        return value
    if rows is None:
        rows = read_history(store, run).rows.get(task, RowTable())
    return MapOutput(store, run, task, rows, value["total"])


def map_of_marker(value: Any) -> str | None:
    """The map whose rows `value` stands for, or None."""
    return value[MAP] if isinstance(value, dict) and value.keys() == {MAP, "total"} else None
