"""Comparing a map of two runs: each is read on its own, then the pairs are made, then the rows of a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.comparing import PairedScore
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.review import RecordedReview
from po_jupyter.model.values.json import JsonObject, JsonValue
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
from po_jupyter.orchestrator.views.inspection.side_scores import (
    CORRECTIONS,
    SideScores,
    against,
    against_field,
    corrections_in,
    paired,
    recorded_of,
)
from po_jupyter.orchestrator.views.inspection.tables import RunTables
from po_jupyter.store.protocol import Head

T = TypeVar("T")


class ReadRun(Protocol):
    """Reads one run, as `RunInspection` does."""

    def __call__(self, run_id: str, owner: str | None, read: Callable[[Head, RunTables], T]) -> Awaitable[T]:
        """What `read` gives of the run's tables, in a thread. NotFound."""
        ...


class PageQuery(NamedTuple):
    """A page of the pairs; without `everything` of those that changed. `gold` says what is right: a field of the rows,
    or `corrections`."""

    everything: bool
    start: int
    limit: int
    gold: str | None = None


class _Side(NamedTuple):
    run: str
    n: int
    contents: list[RowContent]
    variants: list[str]
    summary: SideSummary
    complete: bool
    notes: list[str]


class MapComparison:
    """Compares maps. `table` opens that of a run, `add_names` says what its rows are called."""

    def __init__(
        self,
        read: ReadRun,
        table: Callable[[Head, RunTables, str], MapTable],
        add_names: Callable[[Head, str, str | None, list[TableRow]], None],
        definition: Callable[[Head, str], Mapping[str, Any]],
        reviews: Callable[[Head, str], list[RecordedReview]],
    ) -> None:
        """Nothing is read yet. `definition` is that of a task, `reviews` are those of its rows."""
        self._read, self._table, self._add_names = read, table, add_names
        self._definition, self._reviews = definition, reviews
        self._pairs = PairCache[Pairs]()
        self._scores = PairCache[list[PairedScore]]()

    async def page(self, a: str, b: str, owner: str | None, task: str, query: PageQuery) -> JsonObject:
        """As `RunInspection.compare`."""
        here = await self._read(a, owner, lambda head, tables: self._side(head, tables, task))

        def beside(head: Head, tables: RunTables) -> tuple[_Side, Pairs]:
            there = self._side(head, tables, task)
            return there, self._paired(here, there, task)  # 100,000 pairs are work for a thread

        there, pairs = await self._read(b, owner, beside)
        scores = await self._paired_scores(here, there, pairs, owner, task, query.gold)
        matching = len(pairs.rows) if query.everything else pairs.counts["changed"]  # which come first
        end = min(query.start + query.limit, matching)
        page = pairs.rows[query.start : end]
        return {
            "task": task,
            "rows": await self._rows(here.run, there.run, owner, task, page),
            "summary": summary_of(pairs, here.summary, there.summary, scores),
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
        variants = list(self._definition(head, task).get("variants") or ())
        return _Side(head["run"], tables.n, list(contents), variants, summary, complete, list(tables.notes))

    def _paired(self, here: _Side, there: _Side, task: str) -> Pairs:
        if here.run == there.run:
            raise InvalidInput(f"run {short_id(here.run)} is compared with itself", hint="Name another run.")
        a, b = here.contents, there.contents
        if here.variants and there.variants:
            a, b = _with_variants(a, here.variants), _with_variants(b, there.variants)
        if not (here.complete and there.complete):
            both = min(len(a), len(b))
            return pair_rows(a[:both], b[:both])
        key = (here.run, here.n, there.run, there.n, task)
        pairs = self._pairs.get(key)
        if pairs is None:
            pairs = pair_rows(a, b)
            self._pairs.keep(key, pairs)
        return pairs

    async def _paired_scores(
        self, here: _Side, there: _Side, pairs: Pairs, owner: str | None, task: str, gold: str | None
    ) -> list[PairedScore]:
        """The scores that both runs have, and whether answers are what `gold` says; none before all rows were read."""
        if not (here.complete and there.complete):
            return []
        key = (here.run, here.n, there.run, there.n, task, gold)
        if (kept := self._scores.get(key)) is not None:
            return kept
        indexes = [(pair.a, pair.b) for pair in pairs.rows if pair.a is not None and pair.b is not None]
        sides: list[list[SideScores]] = []
        for side, rows in ((here, {i for i, _ in indexes}), (there, {j for _, j in indexes})):
            read = partial(self._scores_of, task=task, gold=gold, rows=rows)
            sides.append(await self._read(side.run, owner, read))
        if gold == CORRECTIONS:
            for known, scores in zip(
                sides, await self._corrected(here, there, indexes, owner, task), strict=True
            ):
                known.append(scores)
        found = [one for a, b in zip(*sides, strict=True) for one in paired(a, b, indexes)]
        self._scores.keep(key, found)
        return found

    def _scores_of(
        self, head: Head, tables: RunTables, task: str, gold: str | None, rows: Container[int]
    ) -> list[SideScores]:
        """The scores of the rows that have a partner: means of others beside them would be of another list."""
        table = self._table(head, tables, task)
        scores = [recorded_of(table, self._definition(head, task), rows)]
        return scores if gold in (None, CORRECTIONS) else [*scores, against_field(table, str(gold), rows)]

    async def _corrected(
        self, here: _Side, there: _Side, pairs: list[tuple[int, int]], owner: str | None, task: str
    ) -> list[SideScores]:
        """Whether the answers of both runs are what people said of either: of A, and where nothing was, of B."""

        def corrections(head: Head, tables: RunTables) -> dict[int, JsonValue]:
            return corrections_in(self._table(head, tables, task), self._reviews(head, task))

        of_a = await self._read(here.run, owner, corrections)
        of_b = await self._read(there.run, owner, corrections)
        if not of_a and not of_b:
            raise InvalidInput(
                "no row of either run was reviewed", hint="po review RUN has people say what is right."
            )
        known = [(i, j, of_a[i] if i in of_a else of_b[j]) for i, j in pairs if i in of_a or j in of_b]
        sides: list[SideScores] = []
        for side, gold in ((here, {i: v for i, _, v in known}), (there, {j: v for _, j, v in known})):
            sides.append(await self._read(side.run, owner, partial(self._against, task=task, gold=gold)))
        return sides

    def _against(self, head: Head, tables: RunTables, task: str, gold: Mapping[int, JsonValue]) -> SideScores:
        return against(self._table(head, tables, task), gold)

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
            self._add_names(head, task, table.columns.rows_of, rows)
            return {row["index"]: row for row in rows}

        return await self._read(run, owner, read)


def _with_variants(contents: list[RowContent], names: list[str]) -> list[RowContent]:
    return [row._replace(variant=names[index % len(names)]) for index, row in enumerate(contents)]
