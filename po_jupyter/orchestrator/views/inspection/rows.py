"""Pages of a map's rows as a table has them: inputs and outputs, errors and numbers; sorted, filtered, searched."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple

from po_jupyter.errors import CorruptRow, NotFound, PoError
from po_jupyter.model.pipeline.evals.confidence import without_confidence
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.scores import RowScores
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.views.inspection.row_columns import RowColumns
from po_jupyter.orchestrator.views.inspection.row_contents import RowContent, digest_of
from po_jupyter.orchestrator.views.inspection.row_inputs import MapInputs
from po_jupyter.orchestrator.views.inspection.row_query import (
    FoundRows,
    RowQuery,
    RowState,
    as_text,
    deadline,
    output_order,
    search,
)
from po_jupyter.orchestrator.views.inspection.tables import RunTables
from po_jupyter.orchestrator.views.row_labels import LabelledRow, add_scores, add_votes
from po_jupyter.store.protocol import Head, ItemRecord, Ref, Store

SHOWN = 2000  # characters of a value in a page
WHOLE = 4 * 2**20  # characters of a value of one row
_FOUND = 8  # answers that are kept
_PORTION = 1000  # rows that are read at once
_ORDER: dict[RowState, int] = {"failed": 0, "running": 1, "pending": 2, "done": 3}


class TableRow(LabelledRow):
    """A row of a map. A value that is cut is the beginning of its text, and `clipped` is true then. `flags`: `reused`,
    `cached`, `unknown` (a call whose outcome was lost), `artifacts`, `unreadable` (the log is damaged there),
    `input_changed` (the task that it was made from has a newer output: its input is not known any more)."""

    state: RowState
    input: Any
    output: Any
    error: JsonObject | None
    attempts: int
    tokens: int
    cost_usd: float | None
    seconds: float
    model: str | None
    flags: list[str]
    clipped: bool


class AnsweredRow(NamedTuple):
    """A row whose values are whole."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on it
    state: RowState
    input: Any
    output: Any


class MapTable:
    """The rows of one map of a run, as its tables have them. Blocks on the store."""

    def __init__(
        self,
        store: Store,
        head: Head,
        tables: RunTables,
        task: str,
        inputs: Callable[[], MapInputs],
        *,
        measured: bool = False,
    ) -> None:
        """With `measured` outputs have the confidence of their answers beside these. Raises NotFound for a task that
        the run does not have."""
        _check_task(head, tables, task)
        self._store, self._head, self._tables = store, head, tables
        self._task, self._open_inputs, self._measured = task, inputs, measured
        self.columns: RowColumns = tables.maps.of(task)
        fence = head["fence"] if head["state"] == "running" else None
        self._running = tables.calls.open_rows(task, fence) if fence is not None else set[int]()

    def find(self, query: RowQuery, variants: Sequence[str] = ()) -> FoundRows:
        """The rows that a query is about, in its order; `variants` are those of the task, the query's among them."""
        kept = self._tables.found.get(query)
        if kept is not None:
            return kept
        indexes: Sequence[int] = range(self.columns.total)
        if query.variant is not None:  # each variant answers each row of the list
            indexes = indexes[variants.index(query.variant) :: len(variants)]
        if query.state is not None:
            indexes = [index for index in indexes if self._state(index) == query.state]
        found = self._search(indexes, query) if query.q else FoundRows(list(indexes), True)
        if query.sort == "output":
            found = self._by_output(found, desc=query.desc)
        elif query.sort != "index" or query.desc:
            found.indexes.sort(key=self._sort_key(query), reverse=query.desc)
        if found.complete:  # what is not is gone on with when it is asked again
            _keep(self._tables.found, query, found)
        return found

    def _search(self, indexes: Sequence[int], query: RowQuery) -> FoundRows:
        searches, plain = self._tables.searches, query._replace(sort="index", desc=False)
        found = search(indexes, query.q, self._texts, searches.pop(plain, None))
        _keep(searches, plain, found)  # another order may ask for the same
        return found._replace(indexes=sorted(found.indexes))

    def _by_output(self, found: FoundRows, *, desc: bool) -> FoundRows:
        """In the order of the outputs, as far as there is time to read them."""
        orders = self._tables.orders.setdefault(self._task, {})
        is_over, complete = deadline(), found.complete
        unread = [index for index in found.indexes if index not in orders]
        for at, (index, value) in enumerate(self._outputs(unread)):
            if at and is_over():
                complete = False
                break
            orders[index] = output_order(value)
        nothing = output_order(None)
        found.indexes.sort(key=lambda index: orders.get(index, nothing), reverse=desc)
        if complete:
            del self._tables.orders[self._task]
        return found._replace(complete=complete)

    @cached_property
    def _inputs(self) -> MapInputs:
        return self._open_inputs()

    def contents(self, before: list[RowContent]) -> bool:
        """Go on after `before` with what the rows are compared by, as far as there is time; whether that is all."""
        is_over = deadline()
        while len(before) < self.columns.total:
            some = range(len(before), min(len(before) + _PORTION, self.columns.total))
            outputs = {index: digest_of(self.plain_answer(value)) for index, value in self._outputs(some)}
            items = self._items(some) if self.columns.placed and not self._inputs.exact else {}
            for index in some:
                item, outcome = items.get(index), self.columns.table.get(index)
                row_input = self._input(index, item.get("row") if isinstance(item, dict) else None)
                unread = outcome is not None and outcome.output is not None and index not in outputs
                digest = None if row_input is None else digest_of(row_input)
                before.append(RowContent(self._state(index), digest, outputs.get(index), unread))
            if is_over():
                break
        return len(before) >= self.columns.total

    def whole_contents(self) -> list[RowContent]:
        """What the rows are compared by, of all of them, however long it takes to read them."""
        contents = self._tables.contents.setdefault(self._task, [])
        while not self.contents(contents):
            pass  # it goes on with the rows that were not read yet
        return contents

    def _input(self, index: int, place: int | None) -> Any:
        """The input of a row, None where it cannot be told."""
        with suppress(PoError):
            if not self._inputs.has_changed(index, self._recorded(index)):
                return self._inputs.input(index, place, has_outcome=index in self.columns.table)
        return None

    def rows(self, indexes: Sequence[int], limit: int = SHOWN) -> list[TableRow]:
        """These rows, in that order, with at most `limit` characters of each value."""
        items = self._items(indexes)
        return [self._row(index, items.get(index), limit) for index in indexes]

    def plain_answer(self, output: Any) -> Any:
        """The answer alone, of an output that has more: how probable it was differs from call to call."""
        return without_confidence(output) if self._measured else output

    def answered(self, indexes: Iterable[int]) -> list[AnsweredRow]:
        """The inputs and outputs of rows, whole."""
        indexes = list(indexes)
        outputs = dict(self._outputs(indexes))
        items = self._items(indexes) if self.columns.placed and not self._inputs.exact else {}
        rows: list[AnsweredRow] = []
        for index in indexes:
            item, state = items.get(index), self._state(index)
            if state == "done" and index not in outputs:
                state = "failed"  # its answer cannot be read any more
            row_input = self._input(index, item.get("row") if isinstance(item, dict) else None)
            rows.append(AnsweredRow(index, state, row_input, outputs.get(index)))
        return rows

    def recorded_scores(self) -> Iterator[tuple[int, bool, RowScores | None]]:
        """Of each row with an outcome its index, whether it has an answer, and the scores of that."""
        try:
            for record in self._store.records(self._head["run"]):
                for item in record["items"]:
                    if item["task"] == self._task and self._recorded(item["index"]) == record["n"]:
                        yield item["index"], bool(item["ok"]), item.get("scores")
        except CorruptRow as damage:
            raise CorruptRow(f"the scores cannot be read: {damage.message}") from damage

    def _recorded(self, index: int) -> int | None:
        """The number of the record with the outcome of a row."""
        return self.columns.table.record_number(index) if index in self.columns.table else None

    def _state(self, index: int) -> RowState:
        outcome = self.columns.table.get(index)
        if outcome is not None:
            return "done" if outcome.ok else "failed"
        return "running" if index in self._running else "pending"

    def _sort_key(self, query: RowQuery) -> Callable[[int], Any]:
        if query.sort == "index":
            return lambda index: index
        if query.sort == "state":
            return lambda index: _ORDER[self._state(index)]
        return self.columns.sort_key(query.sort)

    def _row(self, index: int, item: ItemRecord | CorruptRow | None, limit: int) -> TableRow:
        numbers = self.columns.numbers(index)
        flags = numbers.flags
        row_input: Any = None
        record = item if isinstance(item, dict) else None
        place = record.get("row") if record is not None else None
        try:
            if self._inputs.has_changed(index, self._recorded(index)):
                flags = [*flags, "input_changed"]
            else:
                row_input = self._inputs.input(index, place, has_outcome=record is not None)
        except PoError:  # the file of the rows is gone, or the definition is damaged
            flags = [*flags, "unreadable"]
        output, error = None, None if record is None else record.get("error")
        try:
            if record is not None and (ref := record.get("output")) is not None:
                output = self._store.payload(self._head["run"], Ref(*ref))
            if isinstance(item, CorruptRow):
                raise item
        except (CorruptRow, NotFound) as damage:
            error, flags = damage.to_json(), [*flags, "unreadable"]
        clips = [clip(value, limit) for value in (row_input, output)]
        shown, cut = (error, False) if error is None else clip_error(error, limit)
        row: TableRow = {
            "index": index, "state": self._state(index), "input": clips[0][0], "output": clips[1][0],
            "error": shown, "attempts": numbers.attempts, "tokens": numbers.tokens,
            "cost_usd": numbers.cost_usd, "seconds": numbers.seconds, "model": numbers.model, "flags": flags,
            "clipped": clips[0][1] or clips[1][1] or cut,
        }  # fmt: skip
        if place is not None:
            row["row"] = place
        if record is not None:
            add_votes(row, record)
            add_scores(row, record)
        return row

    # -- reading ------------------------------------------------------------------------------------

    def _items(self, indexes: Iterable[int]) -> dict[int, ItemRecord | CorruptRow]:
        """The records of rows that have an outcome; in the place of one that cannot be read why."""
        table, run = self.columns.table, self._head["run"]
        record_of = {index: table.record_number(index) for index in indexes if index in table}
        items: dict[int, ItemRecord | CorruptRow] = {}
        for n in sorted(set(record_of.values())):
            try:
                for record in self._store.records(run, after=n - 1, limit=1):
                    for item in record["items"]:
                        if item["task"] == self._task and record_of.get(item["index"]) == n:
                            items[item["index"]] = item
            except CorruptRow as error:
                items |= {index: error for index, number in record_of.items() if number == n}
        return items

    def _outputs(self, indexes: Iterable[int]) -> Iterable[tuple[int, Any]]:
        """Outputs by row, those of one record together: each is unpacked once."""
        table, run = self.columns.table, self._head["run"]
        places = [
            (*row.output, i) for i in indexes if (row := table.get(i)) is not None and row.output is not None
        ]
        n, values = 0, list[Any]()
        for number, at, index in sorted(places):
            if number != n:
                n, values = number, []
                try:
                    values = self._store.payloads(run, n)
                except (CorruptRow, NotFound):
                    continue
            if at < len(values):
                yield index, values[at]

    def _texts(self, indexes: list[int]) -> Iterable[tuple[int, str]]:
        outputs = dict(self._outputs(indexes))
        table = self.columns.table
        failed = [index for index in indexes if (row := table.get(index)) is not None and not row.ok]
        items = self._items(indexes if self.columns.placed and not self._inputs.exact else failed)
        for index in indexes:
            item = items.get(index)
            record = item if isinstance(item, dict) else None
            place = record.get("row") if record is not None else None
            parts = [
                self._input(index, place),
                outputs.get(index),
                None if record is None else record.get("error"),
            ]
            yield index, "\n".join(as_text(part) for part in parts if part is not None)


def _keep(kept: OrderedDict[RowQuery, FoundRows], query: RowQuery, found: FoundRows) -> None:
    kept[query] = found
    while len(kept) > _FOUND:
        kept.popitem(last=False)


def _check_task(head: Head, tables: RunTables, task: str) -> None:
    """Raises NotFound for a task that the run does not have."""
    names = tables.maps.tasks
    if task not in names and not tables.notes:
        guess = did_you_mean(task, sorted(names))
        raise NotFound(f"run {short_id(head['run'])} has no task {task!r:.80}{guess}")


def clip(value: Any, limit: int) -> tuple[Any, bool]:
    """The value, or the beginning of its text where that has more than `limit` characters; and whether it was cut."""
    if isinstance(value, str):
        return (value, False) if len(value) <= limit else (value[:limit], True)
    if value is None or isinstance(value, bool | int | float):
        return value, False
    text = json.dumps(value, ensure_ascii=False)
    return (value, False) if len(text) <= limit else (text[:limit], True)


def clip_error(error: JsonObject, limit: int) -> tuple[JsonObject, bool]:
    """An error whose message and details are no longer than that; and whether it was cut."""
    whole, cut = clip(error, limit)
    if not cut:
        return dict(whole), False
    return {"code": error.get("code"), "message": str(error.get("message") or "")[:limit]}, True
