"""The state of a running map: outcomes of its rows, their counts, and the progress that views show.

An outcome is committed once, in one commit with the answers that led to it. A crash keeps what is durable. Attempts
of a row end in that outcome (`base.retry_decision`); after it only a resume tries a failed row again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from po_jupyter.engine.base.failure_threshold import allowed_failures
from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.engine.base.usage_sum import UsageSum
from po_jupyter.engine.maps.dependencies import MODELS, AnswerNotes, ReusableOutcome
from po_jupyter.engine.maps.parts import MapParts
from po_jupyter.engine.maps.row_code import MapRow, RowCode
from po_jupyter.engine.prompts.row_origins import OriginRows, RowOrigin
from po_jupyter.engine.replay.history import map_marker
from po_jupyter.engine.replay.row_table import DONE, FAILED
from po_jupyter.errors import PoError, RowsLeft, ThresholdExceeded
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.events import EventDraft, draft
from po_jupyter.model.values.json import JsonObject
from po_jupyter.telemetry.redaction import redactor

if TYPE_CHECKING:
    from po_jupyter.engine.maps.operator_loading import AskingOperator
    from po_jupyter.engine.maps.piece import Piece
    from po_jupyter.engine.ports import CommitPlace
    from po_jupyter.store.protocol import ItemDraft

_PROGRESS = 0.2  # s between two `map.progress`
UNFLUSHED = 500  # outcomes on their way to the disk before a row waits for them
# A call's key has one number for the attempt; a task has at most 20 row attempts (model.CallRetry).
ROW_ATTEMPTS = 100


class MapState:
    """The rows of one attempt of a map. Owned by a `LiveMap` or a `BatchMap`.

    rows       the items, perhaps each read when it is used        total      rows to work on (`limit`)
    table      their outcomes, in memory before they are durable   code       makes the stages and the key of a row
    operator   what makes the rows, and the task's rows of the answers; None for a map that is no more
    error      why no further row may start, or None               in_flight  rows that are worked on now
    """

    def __init__(
        self,
        parts: MapParts,
        task: Task,
        attempt: int,
        rows: Sequence[Any],
        code: RowCode,
        operator: AskingOperator | None = None,
    ) -> None:
        """An attempt of a map, with the outcomes that the log has; `attempt` as in keys of calls."""
        self.parts, self.task, self.attempt, self.rows, self.code = parts, task, attempt, rows, code
        self.operator = operator
        self.tasks = task.variant_tasks
        # Of an operator, and of variants, it is a limit of their list.
        limit = parts.inputs.options.limit if operator is None and len(self.tasks) == 1 else None
        self.total = len(rows) if limit is None else min(len(rows), limit)
        self.table = parts.history.table(task.name)
        self._origin = self._known_origin(rows)
        self.done = self.failed = 0
        self._recount()
        asked = parts.history.asked.get(task.name)
        self._asked = None if asked is None else sorted(i for i in asked if i < self.total)
        self.in_flight = 0
        self.error: PoError | None = None
        self._unreported = parts.history.take_uncounted(task.name)
        self._redone = parts.history.redone.get(task.name, {})
        self._reported = (-1, -1)
        self._timer: asyncio.TimerHandle | None = None
        self._unflushed = 0

    def _recount(self) -> None:
        self.done = sum(1 for i in self.table.indexes(DONE) if i < self.total)
        self.failed = sum(1 for i in self.table.indexes(FAILED) if i < self.total)

    @property
    def lacks_outcomes(self) -> bool:
        """Whether some row has no outcome, whoever asks for it."""
        return self.done + self.failed < self.total

    def extend(self, items: Sequence[Any]) -> None:
        """Add rows that the answers so far have led to; all of them are asked for."""
        known = self.total
        self.rows = [*self.rows, *items]
        self.total = len(self.rows)
        if self._asked is not None:
            self._asked += range(known, self.total)
        self._recount()
        self._emit_started()

    def reopen(self, indexes: Sequence[int]) -> None:
        """Drop the outcomes of rows, which are asked for again."""
        if not indexes:
            return
        self.table.drop(indexes)
        if self._asked is not None:
            self._asked = sorted({*self._asked, *indexes})
        self._recount()

    @property
    def remaining(self) -> int:
        """The number of rows to ask for: those without an outcome, of which a resume may have named some."""
        if self._asked is not None:
            return sum(1 for _ in self.open_indexes())
        return self.total - self.done - self.failed

    def open_indexes(self) -> Iterator[int]:
        """Indexes of rows to ask for, in order; rows that get an outcome meanwhile are left out."""
        indexes = range(self.total) if self._asked is None else self._asked
        return (index for index in indexes if index not in self.table)

    def row(self, index: int) -> MapRow:
        """A row, ready for its stages."""
        return self.code.prepare(index, self.rows[index])

    def place_of(self, index: int) -> tuple[int, int]:
        """The number in the list of what a row is about, and that of its variant: 0 where there are none."""
        return divmod(index, len(self.tasks))

    def _known_origin(self, rows: Sequence[Any]) -> RowOrigin | None:
        """The rows of the seed that the rows are; None for other rows, and when outcomes of an earlier version lack
        the origin."""
        if not isinstance(rows, OriginRows):
            return None
        places = self.parts.history.places.get(self.task.name, {})
        if rows.origin.places is None:
            return rows.origin if not places else None
        same = all(places.get(i) == rows.origin.position(i) for i in self.table if i < len(rows))
        return rows.origin if same else None

    # -- start and end ----------------------------------------------------------------------------------
    def start(self) -> None:
        """Emit that the map starts, and how far an earlier attempt came."""
        self._emit_started()
        self.parts.observer.on_map_start(self.task, self.total)
        if self.table:
            self._emit_progress()
        self._check_early()

    def _emit_started(self) -> None:
        # Of a child run the rows that it works on are all there is.
        total = len(self._asked or ()) if self.parts.inputs.is_child else self.total
        started = draft("map.started", self.task.name, total=total, stage=self.code.stage)
        if self._origin is not None:
            started["data"]["of"] = self._origin.path
        self.parts.log.emit(started)

    def stop(self, error: PoError) -> None:
        """Start no further row; the first error is that of the map."""
        self.error = self.error or error

    def judge(self) -> None:
        """Decide whether the map is done, once no further row starts; the verdict is `error`. Rows that are left come
        first: calls that were answered for them are kept then, and the threshold is one of all rows."""
        if isinstance(self.error, ThresholdExceeded):  # with the rows that were at work, and failed since
            self.error = self._threshold_error() or self.error
        if self.remaining or self.parts.inputs.is_child:
            return  # what failed, and what is left, is the business of the parent's map
        left = self.total - self.done - self.failed
        if self.error is None and left:
            count = len(self._asked or ())
            self.error = RowsLeft(
                f"{count} {'row was' if count == 1 else 'rows were'} asked for again, as told; "
                f"{left} of {self.total} rows have no outcome yet",
                hint="Resume the run to go on with them: po resume RUN",
                details={"left": left, "total": self.total},
            )
        self._check_threshold()

    def finish(self) -> JsonObject:
        """The marker that stands for the output. Raises the error of the map; Drained when rows are left for later."""
        if self.parts.boundary.draining and self.remaining > 0 and self.error is None:
            raise Drained
        if self.error is not None:
            raise self.error
        return map_marker(self.task.name, self.total, tuple(self.task.variants or ()))

    # -- outcomes ---------------------------------------------------------------------------------------
    def merge(self, child: str, piece: Piece, *, outcomes: bool) -> None:
        """Queue what a child run committed, in one commit with how far that goes. Without `outcomes` its rows keep the
        outcomes that they have; what they cost counts."""
        name = self.task.name
        items = piece.items if outcomes else ()
        for item in items:
            self._note(item["index"], item)
            self._unreported.add_json(item.get("usage") or {})
            self.done, self.failed = self.done + item["ok"], self.failed + (not item["ok"])
            self.table.set(item["index"], item["ok"])

        def durable(place: CommitPlace) -> None:
            for item in items:
                output = item.get("output")
                ref = place.refs[output] if isinstance(output, int) else None
                self.table.set(item["index"], item["ok"], ref, n=place.n)

        events = list(piece.events) if outcomes else _cost_alone(name, piece)
        merged = draft("shard.merged", name, run=child, n=piece.n)
        self.parts.log.commit_soon(
            *events, merged, items=items, calls=piece.calls, payloads=piece.payloads, then=durable
        )
        self._report_soon()
        self._check_early()

    def _note(self, index: int, item: ItemDraft) -> None:
        """Note in an outcome where in its list of the seed the row is."""
        if self._origin is not None and self._origin.places is not None:
            item["row"] = self._origin.position(index)
            self.parts.history.places.setdefault(self.task.name, {})[index] = item["row"]
        elif len(self.tasks) > 1:
            item["row"] = self.place_of(index)[0]

    def _report_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PROGRESS, self.report_progress)

    def succeed(
        self,
        index: int,
        key: str,
        usage: UsageSum,
        output: Any,
        addresses: Mapping[str, str] = MappingProxyType({}),
        notes: AnswerNotes | None = None,
    ) -> None:
        """Queue the outcome of a row that has an output; `addresses` as in `ModelCalls`."""
        item: ItemDraft = {"task": self.task.name, "index": index, "ok": True, "key": key}
        self._count_usage(item, usage)
        self.done += 1
        item["output"] = 0
        (notes or AnswerNotes()).add_to(item)
        self._add_dependencies(item, addresses)
        if artifacts := self.parts.files.commit_fields(self.task.name, index):
            item["artifacts"] = artifacts["artifacts"]
        self._commit(item, (output,))

    def fail(self, index: int, key: str, usage: UsageSum, error: PoError) -> None:
        """Queue the outcome of a row that failed; the map stops once too many did."""
        item: ItemDraft = {"task": self.task.name, "index": index, "ok": False, "key": key}
        self._count_usage(item, usage)
        self.failed += 1
        error_json = redactor.scrub(error.to_json())
        item["error"] = error_json
        self.parts.files.forget(self.task.name, index)
        self._commit(item, (), draft("item.failed", self.task.name, index, error=error_json))
        self._check_early()

    def copy_outcome(self, key: str, outcome: ReusableOutcome) -> None:
        """Queue the outcome of a row that an earlier run paid for."""
        item: ItemDraft = {"task": self.task.name, "index": outcome.row, "ok": True, "key": key, "output": 0}
        item["reused"] = outcome.origin
        outcome.notes.add_to(item)
        self._add_dependencies(item, outcome.addresses)
        self.done += 1
        self.parts.history.count_reused(self.task.name)
        self._commit(item, (outcome.output,))

    def attempt_before(self, index: int, attempt: int | None = None) -> int:
        """The attempt, as in keys of calls, that comes before the first one of a row in an attempt of the map (None:
        this one)."""
        if attempt not in (None, self.attempt):
            return attempt * ROW_ATTEMPTS
        return self._redone.get(index, self.attempt * ROW_ATTEMPTS)

    def is_again(self, index: int) -> bool:
        """Whether the row was gone through to its end before: then the cache of calls answers nothing."""
        return self.attempt > 1 or index in self._redone

    def report_usage(
        self, index: int, stage: str | None, usage: JsonObject, covers: int | Literal["all"] = "all"
    ) -> None:
        """Report what the calls of a row used that is left without an outcome; when it is taken up again, and its
        recorded answers replay, they count no more. `covers` as in `CallUsageData`."""
        if not self.parts.log.closed and usage["calls"]:
            event = draft("call.unknown", self.task.name, index, stage=stage, usage=usage, covers=covers)
            self.parts.log.emit(event)

    @property
    def must_flush(self) -> bool:
        """Whether so many outcomes are on their way to the disk that a row has to wait for them, with `flush`."""
        return self._unflushed >= UNFLUSHED

    def count_unflushed(self) -> None:
        """Count the answer of a row that has no outcome yet: it is on its way to the disk, too."""
        self._unflushed += 1

    async def flush(self) -> None:
        """Wait until every outcome is durable."""
        self._unflushed = 0
        await self.parts.log.flush()

    def _count_usage(self, item: ItemDraft, usage: UsageSum) -> None:
        used = usage.to_json()
        if usage:
            item["usage"] = used
        self._unreported.add_json(used)

    def _add_dependencies(self, item: ItemDraft, addresses: Mapping[str, str]) -> None:
        dependencies = self.code.dependencies
        recorded = {MODELS + ref: address for ref, address in addresses.items()} if addresses else {}
        if dependencies is not None:
            recorded = {**dependencies.recorded(item["index"]), **recorded}
        if recorded:
            item["looked"] = recorded

    def _commit(self, item: ItemDraft, payloads: tuple[Any, ...], *events: EventDraft) -> None:
        """Queue an outcome. The table has it at once, and its place in the log once it is durable."""
        index, ok = item["index"], item["ok"]
        history, name = self.parts.history, self.task.name

        def durable(place: CommitPlace) -> None:
            self.table.set(index, ok, place.refs[0] if ok else None, n=place.n)
            history.forget_calls(name, index)  # of a row that was in several batches

        self._note(index, item)
        history.note_alone(item)
        self._unflushed += 1
        self.table.set(index, ok)
        self.parts.log.commit_soon(*events, items=(item,), payloads=payloads, then=durable)
        self._report_soon()

    def _check_early(self) -> None:
        """Stop starting rows once too many failed; rows that a person named are all asked for."""
        if self._asked is None:
            self._check_threshold()

    def _check_threshold(self) -> None:
        """End the map when too many rows failed."""
        self.error = self.error or self._threshold_error()

    def _threshold_error(self) -> ThresholdExceeded | None:
        """The error of a map of which more rows failed than the threshold, or, where there is none, all of them."""
        if not self.failed:
            return None
        threshold = self.task.failure_threshold
        if threshold is None and self.failed == self.total:
            message = "the only row failed" if self.total == 1 else f"all {self.total} rows failed"
            hint = (
                "No task that needs them was started. po resume RUN tries them again; with "
                "`failure_threshold: 1` the run goes on without a single row."
            )
        elif threshold is not None and self.failed / self.total > threshold:
            message = (
                f"{self.failed} of {self.total} rows failed; failure_threshold {threshold:g} "
                f"allows {allowed_failures(threshold, self.total)}"
            )
            hint = "Finished rows are kept. po resume RUN --only-failed tries the others again."
        else:
            return None
        details = {"failed": self.failed, "total": self.total, "done": self.done}
        return ThresholdExceeded(message, hint=hint, details=details)

    # -- progress ---------------------------------------------------------------------------------------
    def report_progress(self) -> None:
        """Emit `map.progress` now, if there is any since the last one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (self.done, self.failed) != self._reported or self._unreported:
            self._emit_progress()

    def report_result(self, counts: JsonObject) -> None:
        """Emit the last `map.progress`, with how many rows an operator kept or made."""
        self._emit_progress(counts)

    def _emit_progress(self, counts: JsonObject | None = None) -> None:
        self._reported = (self.done, self.failed)
        if self.parts.log.closed:
            return
        progress = draft(
            "map.progress",
            self.task.name,
            done=self.done,
            failed=self.failed,
            in_flight=self.in_flight,
            reused=self.parts.history.reused[self.task.name],
            usage=self._unreported.pop(),
        )
        if (learned := self.code.learned) is not None and learned.decided is not None:
            progress["data"]["alone"] = len(self.parts.history.alone.get(self.task.name, ()))
        progress["data"].update(counts or {})
        self.parts.log.emit(progress)


def _cost_alone(task: str, piece: Piece) -> list[EventDraft]:
    """The events of a piece whose outcomes do not count: its rows cost what they cost, and none of it is to come."""
    events = [event for event in piece.events if event["type"] != "item.failed"]
    for item in piece.items:
        if usage := item.get("usage"):
            events.append(draft("call.unknown", task, item["index"], stage=None, usage=usage, covers="all"))
    return events
