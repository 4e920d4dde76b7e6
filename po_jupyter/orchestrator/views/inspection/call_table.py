"""The calls of a run in columns of numbers: where in the log each begins and ends. Bodies are read on use.

A run of 100,000 calls is three megabytes of numbers here, and none of its prompts or answers.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Literal, NamedTuple

from po_jupyter.llm.calls.journal import CallKey
from po_jupyter.store.protocol import CallRecord, Record

CallState = Literal["done", "failed", "in_flight", "unknown", "withdrawn"]
_OPEN, _DONE, _FAILED, _WITHDRAWN = range(4)
_STATES: dict[int, CallState] = {_DONE: "done", _FAILED: "failed", _WITHDRAWN: "withdrawn"}


class CallPlace(NamedTuple):
    """The records of a call, `(number, position)` each: of its intent and of its end; None where there is none."""

    begin: tuple[int, int] | None
    end: tuple[int, int] | None

    @property
    def newest(self) -> int | None:
        """The number of the newest record of the call."""
        last = self.end or self.begin
        return None if last is None else last[0]


class CallTable:
    """Calls by number, in the order in which they were about to be sent; fed with the records of a run in order."""

    def __init__(self) -> None:
        """Without calls."""
        self._columns = tuple(array(code) for code in "iiiiiiI")
        (
            self._begin_n, self._begin_at, self._end_n, self._end_at, self._tasks, self._rows, self._fences,
        ) = self._columns  # fmt: skip
        self._states = bytearray()
        self._names: list[str] = []  # of tasks
        self._open: dict[str, list[int]] = {}  # calls without an end, by key

    def __len__(self) -> int:
        """The number of calls."""
        return len(self._states)

    def apply(self, record: Record) -> None:
        """Take in the calls of one record."""
        for at, call in enumerate(record["calls"]):
            if call["kind"] == "intent":
                self._open.setdefault(call["key"], []).append(self._add(call, record, (record["n"], at)))
            else:
                self._end(call, record, at)

    def _add(self, call: CallRecord, record: Record, begin: tuple[int, int]) -> int:
        key = CallKey.parse(call["key"])
        if key.task not in self._names:
            self._names.append(key.task)
        row = -1 if key.item is None else key.item
        values = (*begin, 0, 0, self._names.index(key.task), row, record["fence"])
        # Made before any is added: a value that does not fit leaves all columns as long as they were.
        cells = [array(column.typecode, [value]) for column, value in zip(self._columns, values, strict=True)]
        for column, cell in zip(self._columns, cells, strict=True):
            column.extend(cell)
        self._states.append(_OPEN)
        return len(self._states) - 1

    def _end(self, call: CallRecord, record: Record, at: int) -> None:
        # Whatever ends a call ends the last one before it that has its key.
        begun = self._open.get(call["key"])
        number = begun.pop() if begun else self._add(call, record, (0, 0))  # the cache's, or a batch's
        if begun == []:
            del self._open[call["key"]]
        self._end_n[number], self._end_at[number] = record["n"], at
        if call["kind"] == "response":
            self._states[number] = _DONE if call["ok"] else _FAILED
        else:
            self._states[number] = _WITHDRAWN

    def place(self, number: int) -> CallPlace:
        """The records of a call."""
        begin, end = self._begin_n[number], self._end_n[number]
        return CallPlace(
            (begin, self._begin_at[number]) if begin else None, (end, self._end_at[number]) if end else None
        )

    def state(self, number: int, fence: int | None) -> CallState:
        """The state of a call; `fence` is that of the worker that has the run, None when nobody has it."""
        known = _STATES.get(self._states[number])
        if known is not None:
            return known
        return "in_flight" if self._fences[number] == fence and self._is_newest(number) else "unknown"

    def _is_newest(self, number: int) -> bool:
        return any(numbers[-1] == number for numbers in self._open.values())

    def open_rows(self, task: str, fence: int | None) -> set[int]:
        """Rows of a map that have a call in flight."""
        newest = [numbers[-1] for numbers in self._open.values()]
        return {
            self._rows[n] for n in newest if self._fences[n] == fence and self._names[self._tasks[n]] == task
        }

    def numbers(
        self, task: str | None, row: int | None, state: CallState | None, fence: int | None
    ) -> Iterator[int]:
        """Numbers of the calls of a task, a row, in a state: of all where that is None; in order."""
        if task is not None and task not in self._names:
            return
        wanted = None if task is None else self._names.index(task)
        for number in range(len(self._states)):
            if (
                (wanted is None or self._tasks[number] == wanted)
                and (row is None or self._rows[number] == row)
                and (state is None or self.state(number, fence) == state)
            ):
                yield number
