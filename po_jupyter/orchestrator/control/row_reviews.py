"""Reviews of rows by people: recorded in the run's log beside the answers, which they never change.

person ── decision, digest of the answer that they saw ──► item.reviewed ──► `RowPages` ──► frames, agreement

A review is no fact of the run's course: its fold passes over it, no worker is told, and a run at work goes on.
"""

from __future__ import annotations

import secrets

from po_jupyter.engine.state.run_state import RunState
from po_jupyter.errors import Conflict, InvalidInput, NotFound
from po_jupyter.llm.structured.parsing import answer_validator
from po_jupyter.model.pipeline.evals.confidence import without_confidence
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.run.events import draft
from po_jupyter.model.run.names import actor_of, short_id
from po_jupyter.model.run.review import (
    Decision,
    ItemReviewedData,
    RecordedReview,
    ReviewView,
    answer_digest,
    is_disputed,
)
from po_jupyter.model.values.canonical import canonical
from po_jupyter.model.values.chunked_json import is_larger_than
from po_jupyter.model.values.whole_numbers import whole_number
from po_jupyter.orchestrator.control.child_runs import check_is_whole
from po_jupyter.orchestrator.control.conditional_append import LogAppend, append_if_current
from po_jupyter.orchestrator.control.rows_again import check_indexes
from po_jupyter.orchestrator.events.change_feed import ChangeFeed
from po_jupyter.orchestrator.threads import ToThread
from po_jupyter.orchestrator.views.projections import RunProjections
from po_jupyter.orchestrator.views.queries import RunQueries
from po_jupyter.orchestrator.views.row_pages import RowOutcome
from po_jupyter.platform.crashpoints import crashpoint
from po_jupyter.store.protocol import Head, Store
from po_jupyter.telemetry.correlation import actor
from po_jupyter.telemetry.redaction import redactor

LARGEST = (
    256 * 1024
)  # bytes of a corrected answer: it stands in an event, which everybody who reads the log reads


class _Known(Exception):
    """The review of this request was recorded before its answer was lost."""


class RowReviews:
    """What people said of rows. `owner` None may review everybody's runs; somebody else's run is NotFound."""

    def __init__(
        self,
        store: Store,
        projections: RunProjections,
        runs: RunQueries,
        changes: ChangeFeed,
        to_thread: ToThread,
    ) -> None:
        """Writes to `store` in threads."""
        self._store, self._projections = store, projections
        self._runs, self._changes, self._to_thread = runs, changes, to_thread

    async def record(
        self,
        run_id: str,
        owner: str | None,
        task: str,
        index: int,
        *,
        decision: Decision,
        output: object = None,
        note: str = "",
        answer: str | None = None,
        request: str | None = None,
    ) -> tuple[ReviewView, bool]:
        """Record what the caller says of a row's answer: it is right (`agree`), or `output` would be (`correct`); (the
        review, was it new). `answer` is the digest of the answer that they saw; the same `request` is recorded once.

        InvalidInput for an output that does not fit the task's schema, NotFound, Conflict for a row without an answer
        and for one that is answered otherwise by now.
        """
        head = await self._runs.find(run_id, owner)
        check_is_whole(head)
        data: ItemReviewedData = {
            "id": request or secrets.token_hex(12),
            "by": actor.get() or actor_of(owner),
            "decision": decision,
            "answer": "",
        }
        if note:
            data["note"] = redactor.text(note)
        if decision == "correct":
            data["output"] = redactor.scrub(output)
        elif output is not None:
            raise InvalidInput("`agree` has no output: the answer is right as it is", hint="Or `correct` it.")
        view, is_new = await self._to_thread(self._record, head, task, index, data, answer)
        if is_new:
            self._changes.changed(head["run"])  # whoever looks at it; no worker, for the run does not change
        return view, is_new

    def _record(
        self, head: Head, task: str, index: int, data: ItemReviewedData, seen: str | None
    ) -> tuple[ReviewView, bool]:
        run, by = head["run"], data["by"]
        definition = self._definition(head, task)
        is_measured = definition is not None and definition.confidence is not None

        def build(now: Head, state: RunState) -> LogAppend:
            if self._projections.review(now, data["id"]) is not None:
                raise _Known
            row = self._row(now, state, task, index)
            digest = answer_digest(row["ok"], row["output"])
            if seen is not None and seen != digest:
                raise Conflict(
                    f"row {index} of task {task!r:.80} of run {short_id(run)} has another answer since you saw it",
                    hint="Look at its answer of now.",
                )
            agrees = data["decision"] == "agree"
            if agrees and not row["ok"]:
                raise InvalidInput(
                    f"row {index} of task {task!r:.80} failed: there is no answer to agree with",
                    hint="Say what the answer should be: `correct` with an `output`.",
                )
            recorded = without_confidence(row["output"]) if is_measured else row["output"]
            same = row["ok"] and canonical(data.get("output")) == canonical(recorded)
            reviewed = draft("item.reviewed", task, index, **data)
            reviewed["data"]["answer"] = digest
            if not agrees and same:  # what they say is what the model said
                reviewed["data"]["decision"] = "agree"
                del reviewed["data"]["output"]
            return LogAppend([reviewed])

        is_new = True
        if data["decision"] == "correct":
            if is_measured:  # how probable the model's answer was says nothing of a person's
                data["output"] = without_confidence(data.get("output"))
            self._check_output(head, task, index, data.get("output"))
        try:
            append_if_current(self._store, self._projections, run, build)
            crashpoint("review.after")
        except _Known:
            is_new = False
        now = self._store.head(run)
        known = self._projections.review(now, data["id"])
        assert known is not None, "it was recorded above"
        if (known["task"], known["index"], known["by"]) != (task, index, by):
            raise Conflict(f"the request {data['id']!r:.40} was about another row, or another person's")
        return self._views(now, task, [known], by)[0], is_new

    def _row(self, head: Head, state: RunState, task: str, index: int) -> RowOutcome:
        """The outcome of a row. NotFound, InvalidInput, Conflict."""
        self._check_task(state, task)
        check_indexes(state, task, [index])
        rows, _ = self._projections.items(head, task, start=index, limit=1)
        if not rows or rows[0]["index"] != index:
            raise Conflict(
                f"row {index} of task {task!r:.80} of run {short_id(head['run'])} has no answer yet",
                hint="Review it once it has one.",
            )
        return rows[0]

    def _definition(self, head: Head, task: str) -> Task | None:
        return next((t for t in self._projections.pipeline(head["run"]).tasks if t.name == task), None)

    def _check_task(self, state: RunState, task: str) -> None:
        if task not in state.tasks:
            guess = did_you_mean(task, list(state.tasks))
            raise NotFound(f"run {short_id(state.run)} has no task {task!r:.80}{guess}")

    def _check_output(self, head: Head, task: str, index: int, output: object) -> None:
        """Judge a corrected answer as the model's is judged: by the task's schema. Raises InvalidInput, NotFound."""
        if is_larger_than(output, LARGEST):
            raise InvalidInput(f"the corrected answer of row {index} has more than {LARGEST:,} bytes")
        self._check_task(self._projections.state(head), task)
        if (definition := self._definition(head, task)) is None:
            return
        violations: list[str] = []
        if definition.output is not None:
            violations = answer_validator(definition.output).violations(output)
        elif definition.kind == "prompt" and not isinstance(output, str):
            violations = [f"answer is not of type 'string': task {task} answers in text"]
        if violations:
            raise InvalidInput(
                f"the corrected answer of row {index} does not fit the schema of task {task!r:.80}: {violations[0]}",
                hint="Correct it so that it fits; the model's answers are judged by the same schema.",
                details={"violations": violations},
            )

    async def page(
        self, run_id: str, owner: str | None, task: str, *, cursor: str | None = None, limit: int = 1000
    ) -> tuple[list[ReviewView], str | None]:
        """Reviews of a map's rows in row order, of each person the last one of a row, and the cursor of the next page.
        NotFound, InvalidInput."""
        if (start := whole_number(cursor or "0")) is None:
            raise InvalidInput("that is not a cursor of this list")
        head = await self._runs.find_readable(run_id, owner)
        by = actor.get() or actor_of(owner)

        def read() -> tuple[list[ReviewView], str | None]:
            self._check_task(self._projections.state(head), task)
            reviews = self._projections.reviews(head, task)
            end = start + limit
            page = self._views(head, task, reviews[start:end], by)
            return page, str(end) if end < len(reviews) else None

        return await self._to_thread(read)

    def _views(self, head: Head, task: str, reviews: list[RecordedReview], by: str) -> list[ReviewView]:
        """Reviews beside the answers of now."""
        rows: dict[int, RowOutcome] = {}
        for index in {review["index"] for review in reviews}:
            page, _ = self._projections.items(head, task, start=index, limit=1)
            if page and page[0]["index"] == index:
                rows[index] = page[0]
        views = [_view(review, rows.get(review["index"]), by) for review in reviews]
        indexes = {view["index"] for view in views}
        outputs: dict[int, list[object]] = {}
        for review in self._projections.reviews(head, task):
            row = rows.get(review["index"])
            if review["index"] in indexes and row is not None:
                view = _view(review, row, by)
                if not view["outdated"]:
                    outputs.setdefault(view["index"], []).append(view["output"])
        for view in views:
            view["disputed"] = is_disputed(outputs.get(view["index"], ()))
        return views


def _view(review: RecordedReview, row: RowOutcome | None, by: str) -> ReviewView:
    ok, recorded = (bool(row["ok"]), row["output"]) if row is not None else (False, None)
    view: ReviewView = {
        **review,  # type: ignore[typeddict-item]  # a recorded review has no `row`
        "ok": ok,
        "recorded": recorded,
        "outdated": row is None or review["answer"] != answer_digest(ok, recorded),
        "mine": review["by"] == by,
        "disputed": False,
    }
    if review["decision"] == "agree" and not view["outdated"]:
        view["output"] = recorded
    if row is not None and "row" in row:
        view["row"] = row["row"]
    return view
