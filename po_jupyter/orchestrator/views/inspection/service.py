"""Inspection: what a page about one run asks for. Rows, calls, timeline, spending; each bounded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from po_jupyter.config import Settings
from po_jupyter.errors import CorruptRow, InvalidInput, NotFound
from po_jupyter.model.pipeline.evals.scores import score_columns
from po_jupyter.model.run.comparing import VariantsOfTask
from po_jupyter.model.run.names import short_id
from po_jupyter.model.values.json import JsonObject
from po_jupyter.orchestrator.examination.operations import Examine
from po_jupyter.orchestrator.threads import OwnerThreads
from po_jupyter.orchestrator.views.inspection.call_table import CallState
from po_jupyter.orchestrator.views.inspection.calls import CallQuery, CallReader, CallView, error_of
from po_jupyter.orchestrator.views.inspection.compare import MapComparison, PageQuery
from po_jupyter.orchestrator.views.inspection.made_rows import MadeRows
from po_jupyter.orchestrator.views.inspection.messages import MessageRequest, message_request, render_messages
from po_jupyter.orchestrator.views.inspection.provenance import RowProvenance, row_provenance
from po_jupyter.orchestrator.views.inspection.row_inputs import RowInputs
from po_jupyter.orchestrator.views.inspection.row_query import RowQuery, RowSort, RowState
from po_jupyter.orchestrator.views.inspection.rows import WHOLE, MapTable, TableRow, clip
from po_jupyter.orchestrator.views.inspection.side_scores import scorers_of
from po_jupyter.orchestrator.views.inspection.tables import RunTables, TableCache
from po_jupyter.orchestrator.views.inspection.variants import variants_beside
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.queries import RunQueries
from po_jupyter.orchestrator.views.row_labels import RowLabels, add_variants
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.protocol import Head, Store

T = TypeVar("T")


class RunInspection:
    """Looks into runs. Every method raises NotFound for an unknown run, and for somebody else's; RateLimited when too
    much is read of one owner, or of one run."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        projections: RunProjections,
        runs: RunQueries,
        *,
        examine: Examine,
        inspecting: OwnerThreads,
        rendering: OwnerThreads,
        rows: RowFiles | None = None,
    ) -> None:
        """Reads the store in threads of `inspecting`, for a search may take seconds; `examine` renders messages, in
        those of `rendering`; `rows` has the files of rows that seeds name (default: those of the data directory)."""
        rows = rows or RowFiles(settings.data_dir)
        self._store = store
        self._projections = projections
        self._runs = runs
        self._examine = examine
        self._inspecting = inspecting
        self._rendering = rendering
        self._tables = TableCache(store)
        self._inputs = RowInputs(rows, store, projections)
        self._labels = RowLabels(rows, projections.seed)
        self._comparison = MapComparison(
            self._read, self._table, self._add_names, self._inputs.task, projections.reviews
        )

    async def rows(
        self,
        run_id: str,
        owner: str | None,
        task: str,
        *,
        start: int = 0,
        limit: int = 100,
        state: RowState | None = None,
        sort: RowSort = "index",
        desc: bool = False,
        q: str = "",
        variant: str | None = None,
    ) -> JsonObject:
        """`{rows, total, matching, next, complete, notes, variants, scores}` of a map: rows from place `start` of those
        that match, as `rows.TableRow`. `complete` is false when a search took too long to read all rows; `variants`
        and `scores` name those of the task. InvalidInput for a `variant` that it does not have."""
        query = RowQuery(task, state, sort, desc, q, variant)

        def read(head: Head, tables: RunTables) -> JsonObject:
            table = self._table(head, tables, task)
            made = self._made(head, task)
            definition = dict(self._inputs.task(head, task))
            variants = list(definition.get("variants") or ())
            if variant is not None and variant not in variants:
                hint = f"The variants of this task: {', '.join(variants) or 'none'}."
                raise InvalidInput(f"no variant is named {variant!r:.80}", hint=hint)
            found = table.find(query, variants) if made is None else made.find(query)
            page = found.indexes[start : start + limit]
            rows = table.rows(page) if made is None else made.rows(page)
            self._add_names(head, task, table.columns.rows_of if made is None else made.rows_of, rows)
            matching = len(found.indexes)
            return {
                "rows": rows, "total": table.columns.total if made is None else made.total, "matching": matching,
                "next": start + limit if start + limit < matching else None,
                "complete": found.complete, "notes": tables.notes, "variants": variants,
                "scores": [column.name for column in score_columns(scorers_of(definition))],
            }  # fmt: skip

        return await self._read(run_id, owner, read)

    async def row(self, run_id: str, owner: str | None, task: str, index: int) -> JsonObject:
        """One row of a map, whole: only a value of more than 4 million characters is cut. NotFound."""

        def read(head: Head, tables: RunTables) -> JsonObject:
            table = self._table(head, tables, task)
            made = self._made(head, task)
            total = table.columns.total if made is None else made.total
            if not 0 <= index < total:
                raise NotFound(
                    f"task {task!r} of run {short_id(head['run'])} has {total} rows, and none is {index}"
                )
            rows = table.rows([index], WHOLE) if made is None else made.rows([index], WHOLE)
            self._add_names(head, task, table.columns.rows_of if made is None else made.rows_of, rows)
            return {**rows[0]}

        return await self._read(run_id, owner, read)

    async def provenance(
        self, run_id: str, owner: str | None, task: str, row: int | None = None
    ) -> list[RowProvenance]:
        """Where each row of a map with an outcome is from, in order; or that `row` alone. NotFound for an unknown
        task."""

        def read(head: Head, tables: RunTables) -> list[RowProvenance]:
            self._table(head, tables, task)  # raises where there is no such map
            found = row_provenance(self._store, head, task)
            return found if row is None else [one for one in found if one["index"] == row]

        return await self._read(run_id, owner, read)

    def _table(self, head: Head, tables: RunTables, task: str) -> MapTable:
        return MapTable(
            self._store, head, tables, task, lambda: self._inputs.of(head, task, tables.maps),
            measured=bool(self._inputs.task(head, task).get("confidence")),
        )  # fmt: skip

    def _made(self, head: Head, task: str) -> MadeRows | None:
        """The rows of an operator that asked no model; None for another task, and one that is not done."""
        with suppress(CorruptRow, NotFound, KeyError):  # a task that another one added
            if self._projections.pipeline(head["run"]).task(task).kind == "operator":
                made = self._projections.operator_rows(head, task)
                return None if made is None else MadeRows(made)
        return None

    def _add_names(self, head: Head, task: str, rows_of: str | None, rows: list[TableRow]) -> None:
        """Add to rows, of the list `rows_of` of the seed, what they are called, and their variants."""
        self._labels.add(head, rows_of, rows)
        add_variants(rows, self._inputs.task(head, task).get("variants"))

    async def of_task(
        self, run_id: str, owner: str | None, task: str, read: Callable[[Head, MapTable, JsonObject], T]
    ) -> T:
        """What `read` gives of the rows and the definition of a task, in a thread. NotFound for an unknown task."""
        return await self._read(
            run_id, owner,
            lambda head, tables: read(head, self._table(head, tables, task), dict(self._inputs.task(head, task))),
        )  # fmt: skip

    async def compare(
        self,
        run_id: str,
        owner: str | None,
        other: str,
        task: str,
        *,
        everything: bool = False,
        start: int = 0,
        limit: int = 100,
        gold: str | None = None,
    ) -> JsonObject:
        """`{task, rows, summary, matching, next, complete, notes}`: a map of this run (A) and of another (B), row by
        row, as `comparison.ComparedRow` and `ComparisonSummary`; only rows that changed, or with `everything` all,
        those that changed first. `complete` is false when there was no time to read all rows: asked again, it goes on.
        `gold` names a field of the rows, or `corrections`: then it is a score too whether answers are that.
        InvalidInput for a task without rows, for twice the same run, and for a `gold` that no row has."""
        query = PageQuery(everything, start, limit, gold)
        return await self._comparison.page(run_id, other, owner, task, query)

    async def variants(self, run_id: str, owner: str | None, task: str) -> VariantsOfTask:
        """The variants of a map beside each other. InvalidInput for a task without."""
        return await self.of_task(
            run_id, owner, task, lambda head, table, definition: variants_beside(table, definition)
        )

    async def calls(
        self,
        run_id: str,
        owner: str | None,
        *,
        task: str | None = None,
        row: int | None = None,
        state: CallState | None = None,
        start: int = 0,
        limit: int = 100,
    ) -> JsonObject:
        """`{calls, total, next, notes}`: calls from place `start` of those that match, as `calls.CallView`."""

        def read(head: Head, tables: RunTables) -> JsonObject:
            reader = CallReader(self._store, head, tables)
            numbers = reader.find(CallQuery(task, row, state))
            calls: list[CallView] = []
            notes = list(tables.notes)
            for number in numbers[start : start + limit]:
                try:
                    calls.append(reader.view(number))
                except CorruptRow as error:
                    notes.append(error.message)
            following = start + limit if start + limit < len(numbers) else None
            return {"calls": calls, "total": len(numbers), "next": following, "notes": notes}

        return await self._read(run_id, owner, read)

    async def call(self, run_id: str, owner: str | None, number: int) -> JsonObject:
        """One call as a whole: as in `calls`, with `{messages, why, rendered, exact, answer, schema, error}` as
        `messages.SentMessages`. NotFound."""

        def read(head: Head, tables: RunTables) -> tuple[str, JsonObject, MessageRequest]:
            reader = CallReader(self._store, head, tables)
            view = reader.view(number)
            answer = reader.answer(number)
            text, cut = clip(None if answer is None else answer["text"], WHOLE)
            request = message_request(self._store, self._projections, self._inputs, head, tables, reader, view)
            call: JsonObject = {
                **view, "answer": text, "clipped": cut, "error": error_of(reader.end(number)),
                "tool_calls": (answer or {}).get("tool_calls") or [],
                "schema": self._inputs.task(head, view["task"]).get("output"),
            }  # fmt: skip
            return head["owner"], call, request

        whose, call, request = await self._read(run_id, owner, read)
        sent = await self._rendering.of(whose)(render_messages, request, self._examine)
        return {**call, **sent._asdict()}

    async def timeline(self, run_id: str, owner: str | None) -> JsonObject:
        """`{spans, cut, notes}`: as `timeline.Span`, in the order in which they began."""
        return await self._read(
            run_id, owner,
            lambda head, tables: {
                "spans": [{**span} for span in tables.timeline.spans], "cut": tables.timeline.cut,
                "notes": tables.notes,
            },
        )  # fmt: skip

    async def spending(self, run_id: str, owner: str | None) -> JsonObject:
        """`{points, total, by_task, by_model, budget, notes}`; a point is `[time, dollars so far, tokens so far]`, at
        most 500."""

        def read(head: Head, tables: RunTables) -> JsonObject:
            spending, notes = tables.spending, list(tables.notes)
            try:
                budget = self._projections.state(head).budget
            except CorruptRow as error:
                budget, notes = {}, [*notes, error.message]
            return {
                "points": [list(point) for point in spending.points], "total": dict(spending.total),
                "by_task": {name: dict(sums) for name, sums in spending.by_task.items()},
                "by_model": {name: dict(sums) for name, sums in spending.by_model.items()},
                "budget": budget, "notes": notes,
            }  # fmt: skip

        return await self._read(run_id, owner, read)

    async def _read(self, run_id: str, owner: str | None, read: Callable[[Head, RunTables], T]) -> T:
        head = await self._runs.find_readable(run_id, owner)

        def work() -> T:
            with self._tables.of(head) as tables:
                return read(head, tables)

        return await self._inspecting.of(head["owner"])(work)
