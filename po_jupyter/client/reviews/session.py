"""A review session: the rows of a sample one at a time, each with what was said of it; what is said is durable at once.

It keeps no state that could be lost: who comes back with the same sample goes on with the first row that they have not
reviewed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from po_jupyter.client.async_client import AsyncClient
from po_jupyter.client.evals.comparison import map_of
from po_jupyter.client.http.inspection_payloads import TableRowJson
from po_jupyter.client.http.reviews import ReviewJson
from po_jupyter.client.reviews.choices import Choices, choices_of
from po_jupyter.client.reviews.condition import RowCondition
from po_jupyter.client.reviews.corrections import all_reviews
from po_jupyter.client.reviews.sampling import matching_rows, sample_of
from po_jupyter.errors import InvalidInput, NotFound
from po_jupyter.model.run.names import short_id
from po_jupyter.model.run.review import answer_digest
from po_jupyter.model.run.view import RunView
from po_jupyter.model.values.json import JsonObject

DEFAULT_SAMPLE = 50


class RowToReview(NamedTuple):
    """A row as it is shown: what the model was given and answered, and what people said of that answer."""

    row: TableRowJson
    mine: ReviewJson | None
    others: tuple[ReviewJson, ...]

    @property
    def ok(self) -> bool:
        """Whether the model has an answer."""
        return self.row["state"] == "done"

    @property
    def answer(self) -> str:
        """The digest of the answer, which a review is of."""
        return answer_digest(self.ok, self.row["output"])

    @property
    def error(self) -> str:
        """Why there is no answer."""
        return str((self.row["error"] or {}).get("message") or "")


class ReviewSession:
    """The rows of a sample in order. `position` is the place of the row that is shown, the length of the sample at its
    end. `schema` is that of the task's answers, None where it answers in text."""

    def __init__(
        self, aio: AsyncClient, run: str, task: str, sample: Sequence[int], schema: JsonObject | None,
        reviews: Sequence[ReviewJson],
    ) -> None:  # fmt: skip
        """Begins at the first row that the caller has not reviewed."""
        self.run, self.task, self.schema = run, task, schema
        self.choices: Choices | None = choices_of(schema)
        self._aio, self._sample = aio, list(sample)
        self._reviews: dict[int, list[ReviewJson]] = {}
        for review in reviews:
            self._reviews.setdefault(review["index"], []).append(review)
        self._position = 0
        self._skip_reviewed()

    @property
    def total(self) -> int:
        """Rows of the sample."""
        return len(self._sample)

    @property
    def position(self) -> int:
        """The place of the row that is shown, from 0."""
        return self._position

    @property
    def reviewed(self) -> int:
        """Rows of the sample that the caller has reviewed."""
        return sum(self._mine(index) is not None for index in self._sample)

    @property
    def progress(self) -> str:
        """Where one is."""
        place = f"{self._position + 1} of {self.total}" if self._position < self.total else f"all {self.total}"
        return f"{place} · {self.reviewed} reviewed"

    def _mine(self, index: int) -> ReviewJson | None:
        return next((r for r in self._reviews.get(index, ()) if r["mine"] and not r["outdated"]), None)

    def _skip_reviewed(self) -> None:
        while self._position < self.total and self._mine(self._sample[self._position]) is not None:
            self._position += 1

    async def current(self) -> RowToReview | None:
        """The row that is shown; None at the end."""
        if self._position >= self.total:
            return None
        index = self._sample[self._position]
        row = await self._aio.inspection.row(self.run, self.task, index)
        others = tuple(review for review in self._reviews.get(index, ()) if not review["mine"])
        return RowToReview(row, self._mine(index), others)

    async def agree(self, shown: RowToReview, note: str = "") -> ReviewJson:
        """Say that the answer is right, and go on with the next row. Conflict where it is another one by now."""
        return await self._add(shown, note, decision="agree")

    async def correct(self, shown: RowToReview, output: Any, note: str = "") -> ReviewJson:
        """Say what the answer should be, and go on. InvalidInput where it does not fit the schema; Conflict."""
        return await self._add(shown, note, decision="correct", output=output)

    async def choose(self, shown: RowToReview, number: int, note: str = "") -> ReviewJson:
        """Say which of the `choices` is right, by its number from 1, and go on."""
        values = self.choices.values if self.choices is not None else ()
        if self.choices is None or not 1 <= number <= len(values):
            raise InvalidInput(
                f"there is no choice {number}: 1 to {len(values)}" if values else "nothing to choose"
            )
        return await self.correct(shown, self.choices.answer(shown.row["output"], values[number - 1]), note)

    async def _add(self, shown: RowToReview, note: str, **decision: Any) -> ReviewJson:
        index = shown.row["index"]
        if shown.row["clipped"] and shown.ok:
            raise InvalidInput(f"row {index} is too large to be reviewed: more than 4 million characters")
        review = await self._aio.inspection.reviews.add(
            self.run,
            self.task,
            index,
            note=note,
            answer=shown.answer,
            request=secrets.token_hex(12),
            **decision,
        )
        others = [r for r in self._reviews.get(index, ()) if not r["mine"]]
        self._reviews[index] = [*others, review]
        if self._position < self.total and self._sample[self._position] == index:
            self._position += 1
        return review

    def skip(self) -> None:
        """Go on with the next row, and say nothing of this one."""
        self._position = min(self._position + 1, self.total)

    def back(self) -> None:
        """Show the row before."""
        self._position = max(self._position - 1, 0)


async def open_session(
    aio: AsyncClient,
    run: RunView,
    task: str | None = None,
    *,
    where: str | None = None,
    sample: int | None = DEFAULT_SAMPLE,
    seed: int = 0,
) -> ReviewSession:
    """A session over a sample of the rows of a map for which the condition `where` holds. Raises InvalidInput."""
    if sample is not None and sample < 1:
        raise InvalidInput(f"a sample has at least one row, not {sample}")
    name = map_of(run, task)
    indexes = await matching_rows(aio, run.id, name, RowCondition(where) if where else None)
    if not indexes:
        reason = f"for which {where!r:.200} holds" if where else "with an answer"
        raise NotFound(f"task {name!r:.80} of run {short_id(run.id)} has no row {reason}")
    schema = await answer_schema(aio, run.id, name)
    reviews = await all_reviews(aio, run.id, name)
    return ReviewSession(aio, run.id, name, sample_of(indexes, sample, seed), schema, reviews)


async def answer_schema(aio: AsyncClient, run: str, task: str) -> JsonObject | None:
    """The schema of a task's answers; None where it answers in text. One of Python without a schema takes any JSON."""
    definition = (await aio.inspection.run_pipeline(run))["pipeline"]
    for entry in definition.get("tasks", ()):
        if isinstance(entry, dict) and entry.get("name") == task:
            schema = entry.get("output")
            if isinstance(schema, dict):
                return schema
            return None if entry.get("prompt") is not None else {}
    return {}
