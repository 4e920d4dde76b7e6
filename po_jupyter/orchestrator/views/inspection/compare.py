"""Comparing a map of two runs: each is read on its own, then the pairs are made, then the rows of a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol, TypeVar

from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.names import short_id
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.views.inspection.comparison import (
    ComparedRow,
    PairCache,
    Pairs,
    RowPair,
    SideSummary,
    pair_rows,
    summary_of,
)
from po_jupyter.orchestrator.views.inspection.row_contents import RowContent
from po_jupyter.orchestrator.views.inspection.rows import MapTable, TableRow
from po_jupyter.orchestrator.views.inspection.tables import RunTables
from po_jupyter.store.protocol import Head

T = TypeVar("T")


class ReadRun(Protocol):
    """Reads one run, as `RunInspection` does."""

    def __call__(self, run_id: str, owner: str | None, read: Callable[[Head, RunTables], T]) -> Awaitable[T]:
        """What `read` gives of the run's tables, in a thread. NotFound."""
        ...


class PageQuery(NamedTuple):
    """A page of the pairs; without `everything` of those that changed."""

    everything: bool
    start: int
    limit: int


class _Side(NamedTuple):
    run: str
    n: int
    contents: list[RowContent]
    summary: SideSummary
    complete: bool
    notes: list[str]


class MapComparison:
    """Compares maps. `table` opens that of a run, `add_labels` says what its rows are called."""

    def __init__(
        self,
        read: ReadRun,
        table: Callable[[Head, RunTables, str], MapTable],
        add_labels: Callable[[Head, str | None, list[TableRow]], None],
    ) -> None:
        """Nothing is read yet."""
        self._read, self._table, self._add_labels = read, table, add_labels
        self._pairs = PairCache()

    async def page(self, a: str, b: str, owner: str | None, task: str, query: PageQuery) -> JsonObject:
        """As `RunInspection.compare`."""
        here = await self._read(a, owner, lambda head, tables: self._side(head, tables, task))

        def beside(head: Head, tables: RunTables) -> tuple[_Side, Pairs]:
            there = self._side(head, tables, task)
            return there, self._paired(here, there, task)  # 100,000 pairs are work for a thread

        there, pairs = await self._read(b, owner, beside)
        matching = len(pairs.rows) if query.everything else pairs.counts["changed"]  # which come first
        end = min(query.start + query.limit, matching)
        page = pairs.rows[query.start : end]
        return {
            "task": task,
            "rows": await self._rows(here.run, there.run, owner, task, page),
            "summary": summary_of(pairs, here.summary, there.summary),
            "matching": matching,
            "next": end if end < matching else None,
            "complete": here.complete and there.complete,
            "notes": [*here.notes, *there.notes],
        }

    def _side(self, head: Head, tables: RunTables, task: str) -> _Side:
        table = self._table(head, tables, task)
        columns = table.columns
        if not columns.total:
            raise InvalidInput(
                f"task {task!r:.80} of run {short_id(head['run'])} has no rows to compare",
                hint="Rows of a map are compared, once it has begun.",
            )
        contents = tables.contents.setdefault(task, [])
        complete = table.contents(contents)
        tokens, cost, seconds = columns.sums()
        done, failed = columns.table.done, columns.table.failed
        summary: SideSummary = {
            "run": head["run"], "rows": columns.total, "done": done, "failed": failed, "tokens": tokens,
            "cost_usd": cost, "seconds": seconds, "models": columns.models,
        }  # fmt: skip
        return _Side(head["run"], tables.n, list(contents), summary, complete, list(tables.notes))

    def _paired(self, here: _Side, there: _Side, task: str) -> Pairs:
        if here.run == there.run:
            raise InvalidInput(f"run {short_id(here.run)} is compared with itself", hint="Name another run.")
        if not (here.complete and there.complete):
            both = min(len(here.contents), len(there.contents))
            return pair_rows(here.contents[:both], there.contents[:both])
        key = (here.run, here.n, there.run, there.n, task)
        pairs = self._pairs.get(key)
        if pairs is None:
            pairs = pair_rows(here.contents, there.contents)
            self._pairs.keep(key, pairs)
        return pairs

    async def _rows(
        self, a: str, b: str, owner: str | None, task: str, page: list[RowPair]
    ) -> list[ComparedRow]:
        mine = await self._table_rows(a, owner, task, [pair.a for pair in page if pair.a is not None])
        theirs = await self._table_rows(b, owner, task, [pair.b for pair in page if pair.b is not None])
        return [
            {
                "change": pair.change,
                "by_input": pair.by_input,
                "a": None if pair.a is None else mine[pair.a],
                "b": None if pair.b is None else theirs[pair.b],
            }
            for pair in page
        ]

    async def _table_rows(
        self, run: str, owner: str | None, task: str, indexes: list[int]
    ) -> dict[int, TableRow]:
        def read(head: Head, tables: RunTables) -> dict[int, TableRow]:
            table = self._table(head, tables, task)
            rows = table.rows(indexes)
            self._add_labels(head, table.columns.rows_of, rows)
            return {row["index"]: row for row in rows}

        return await self._read(run, owner, read)
