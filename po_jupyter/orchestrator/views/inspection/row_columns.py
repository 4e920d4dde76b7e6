"""The rows of a map in columns of numbers: outcome, place in the log, tokens, cost, seconds and attempts of each.

What a table is sorted and filtered by is here; inputs, outputs and errors are read for the rows that are shown.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable
from typing import NamedTuple

from po_jupyter.engine.replay.row_table import RowTable
from po_jupyter.llm.calls.journal import CallKey
from po_jupyter.model.run.events import EventDraft
from po_jupyter.store.protocol import CallRecord, ItemRecord

_REUSED, _CACHED, _UNKNOWN, _ARTIFACTS = 1, 2, 4, 8
_FLAGS = {_REUSED: "reused", _CACHED: "cached", _UNKNOWN: "unknown", _ARTIFACTS: "artifacts"}

_MOST_ROWS = 2**24
_LARGEST = 2**64 - 1  # that a column takes


class RowNumbers(NamedTuple):
    """The numbers of one row. `cost_usd` is None when a price is unknown; `attempts` 0 without a call of its own."""

    attempts: int
    tokens: int
    cost_usd: float | None
    seconds: float
    model: str | None
    flags: list[str]


class RowColumns:
    """The rows of one map; fed with its items and calls in the order of the log."""

    def __init__(self) -> None:
        """Without rows."""
        self.table = RowTable()
        self.total = 0
        self.rows_of: str | None = None  # the list of the seed whose rows they are
        self.placed = False  # rows say where in their list they are, which is not their index
        self._tokens, self._attempts, self._last = array("Q"), array("I"), array("Q")
        self._cost, self._seconds = array("d"), array("d")
        self._flags, self._models = array("B"), array("B")
        self._names: list[str] = [""]  # of models
        self._sent: dict[str, str] = {}  # the models of calls that are under way, by key
        self._refs: dict[str, str | None] = {}  # of the models that answered, as requests name them

    def _grow(self, index: int) -> None:
        if index < len(self._tokens):
            return
        if index >= _MOST_ROWS:
            raise ValueError(f"no map has a row {index}")
        more = max(index + 1, 2 * len(self._tokens), 64) - len(self._tokens)
        for column in (self._tokens, self._attempts, self._last, self._flags, self._models):
            column.extend(array(column.typecode, [0]) * more)
        for amounts in (self._cost, self._seconds):
            amounts.extend(array("d", [0.0]) * more)

    def apply_item(self, item: ItemRecord, n: int) -> None:
        """Set the outcome of a row to that of an item of record `n`."""
        index = item["index"]
        self._grow(index)
        self.total = max(self.total, index + 1)
        self.table.set(index, bool(item["ok"]), item.get("output"), None, n=n)
        usage = item.get("usage") or {}
        tokens = (usage.get("input_tokens") or 0) + (usage.get("output_tokens") or 0)
        self._tokens[index] = _clamp(self._tokens[index] + int(tokens))
        cost = usage.get("cost", 0.0)
        self._cost[index] += math.nan if cost is None else cost
        flags = _REUSED if "reused" in item else 0
        flags |= _CACHED if usage.get("cached_calls") else 0
        flags |= _UNKNOWN if usage.get("unknown") else 0
        self._flags[index] = flags | (_ARTIFACTS if item.get("artifacts") else 0)
        self.placed = self.placed or "row" in item

    def apply_call(self, key: CallKey, call: CallRecord) -> None:
        """Count a record of a call of a row."""
        index = key.item
        if index is None:
            return
        self._grow(index)
        attempt = _clamp(key.attempt + 1)
        if self._last[index] != attempt:
            self._last[index] = attempt
            self._attempts[index] += 1
        if call["kind"] == "response" and call["ok"]:
            self._seconds[index] += float((call.get("response") or {}).get("seconds") or 0.0)
        if key.asks_for_output:
            self._apply_model(index, call)

    def _apply_model(self, index: int, call: CallRecord) -> None:
        """Have the model of a call as that of its row: the last one that ended, by the name that it answered with."""
        if call["kind"] == "intent":
            self._sent[call["key"]] = call["model"]
            if not self._models[index]:
                self._set_model(index, call["model"])
            return
        requested = self._sent.pop(call["key"], None)
        if call["kind"] != "response":
            return
        requested = requested or call.get("model")
        if call["ok"]:
            name = str((call.get("response") or {}).get("model") or requested or "")
            self._refs[name] = requested
            self._set_model(index, name)
        elif requested is not None and requested != self._refs.get(
            name := self._names[self._models[index]], name
        ):
            self._set_model(index, requested)  # another one than before, as in a cascade

    def _set_model(self, index: int, name: str) -> None:
        if name not in self._names and len(self._names) < 256:
            self._names.append(name)
        self._models[index] = self._names.index(name) if name in self._names else 0

    def numbers(self, index: int) -> RowNumbers:
        """The numbers of a row."""
        if index >= len(self._tokens):
            return RowNumbers(0, 0, 0.0, 0.0, None, [])
        cost = self._cost[index]
        return RowNumbers(
            self._attempts[index],
            self._tokens[index],
            None if math.isnan(cost) else cost,
            round(self._seconds[index], 3),
            self._names[self._models[index]] or None,
            [name for flag, name in _FLAGS.items() if self._flags[index] & flag],
        )

    def sums(self) -> tuple[int, float | None, float]:
        """Tokens, dollars (None when a price is unknown) and seconds of all rows."""
        cost = sum(self._cost)
        return sum(self._tokens), None if math.isnan(cost) else cost, round(sum(self._seconds), 3)

    @property
    def models(self) -> list[str]:
        """The models that answered rows, in the order in which they came; where none did, those that were asked."""
        return self.models_of(range(len(self._models)))

    def models_of(self, indexes: Iterable[int]) -> list[str]:
        """`models` of these rows alone. A row that failed names the model as it was asked for, not as the server does:
        beside others that is no second model."""
        numbers = sorted({self._models[index] for index in indexes if index < len(self._models)})
        names = [self._names[n] for n in numbers if self._names[n]]
        return [name for name in names if name in self._refs] or names

    def sort_key(self, field: str) -> Callable[[int], float]:
        """The value of a row by which `field` sorts; an unknown cost is below all others."""
        columns: dict[str, array[int] | array[float]] = {
            "attempts": self._attempts, "tokens": self._tokens, "cost_usd": self._cost, "seconds": self._seconds,
        }  # fmt: skip
        column = columns[field]

        def key(index: int) -> float:
            value = column[index] if index < len(column) else 0
            return -1.0 if value != value else value

        return key


def _clamp(number: int) -> int:
    return min(max(number, 0), _LARGEST)


class MapColumns:
    """The maps of a run by task; fed with its records in order. `tasks` are all that the run has."""

    def __init__(self) -> None:
        """Without maps."""
        self.tasks: set[str] = set()
        self._maps: dict[str, RowColumns] = {}

    def of(self, task: str) -> RowColumns:
        """The rows of a map; none for a task that has none."""
        return self._maps.get(task) or RowColumns()

    def _map(self, task: str) -> RowColumns:
        columns = self._maps.get(task)
        if columns is None:
            columns = self._maps[task] = RowColumns()
        return columns

    def apply_event(self, event: EventDraft) -> None:
        """Take in what an event says about tasks and their rows."""
        kind, data = event["type"], event["data"]
        if kind in ("run.created", "tasks.added"):
            self.tasks.update(task["name"] for task in data["tasks"])
        elif kind == "map.started":
            columns = self._map(event["task"])
            columns.total, columns.rows_of = int(data["total"]), data.get("of")
        elif kind == "run.resumed":
            for task in data.get("clear") or ():
                self._maps.pop(task, None)
            rows = data.get("rows") or {}
            for task in data.get("reset") or ():
                if task in self._maps:
                    self._maps[task].table.reopen(rows.get(task))

    def apply(self, items: Iterable[ItemRecord], calls: Iterable[CallRecord], n: int) -> None:
        """Take in the items and calls of record `n`."""
        for call in calls:
            key = CallKey.parse(call["key"])
            if key.item is not None:
                self._map(key.task).apply_call(key, call)
        for item in items:
            self._map(item["task"]).apply_item(item, n)
