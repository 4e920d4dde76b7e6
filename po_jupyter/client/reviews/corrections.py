"""Corrections: rows with what people say in the place of what the model said."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from po_jupyter.client.async_client import AsyncClient
from po_jupyter.client.http.reviews import ReviewJson
from po_jupyter.errors import InvalidInput
from po_jupyter.model.run.review import ReviewView, counting, is_disputed, verdict

_PAGE = 1000


class AsItIs:
    """In the place of a corrected answer: the recorded one is right."""

    def __repr__(self) -> str:
        """As signatures show it."""
        return "AS_IT_IS"


AS_IT_IS: Any = AsItIs()


class RowVerdict(NamedTuple):
    """What people say of a row. `output` is right according to most of them, `corrected`: the model said otherwise."""

    output: Any
    corrected: bool
    people: tuple[str, ...]
    disputed: bool


async def all_reviews(aio: AsyncClient, run: str, task: str) -> list[ReviewJson]:
    """What people said of a map's rows, in row order."""
    reviews: list[ReviewJson] = []
    cursor: str | None = None
    while True:
        page, cursor = await aio.inspection.reviews.page(run, task, cursor=cursor, limit=_PAGE)
        reviews += page
        if cursor is None:
            return reviews


def verdicts(reviews: list[ReviewJson]) -> dict[int, RowVerdict]:
    """What people say, by row, from reviews of the answers of now. Of several who say different things most count, of
    as many the last."""
    views: list[ReviewView] = [{**review} for review in reviews]
    return {index: _verdict(of_row) for index, of_row in counting(views).items()}


def _verdict(reviews: list[ReviewView]) -> RowVerdict:
    output = verdict(reviews)
    first = reviews[0]
    corrected = not first["ok"] or is_disputed((output, first["recorded"]))
    people = tuple(sorted({review["by"] for review in reviews}))
    return RowVerdict(output, corrected, people, is_disputed(review["output"] for review in reviews))


def corrected_rows(rows: list[Any], said: Mapping[int, RowVerdict]) -> list[Any]:
    """Rows of a map with the corrected output in the place of the model's, and who reviewed them. Raises InvalidInput
    for rows that an operator made: they are no answers, and numbered otherwise than what was asked."""
    if any("columns" in row for row in rows):
        raise InvalidInput(
            "the rows that an operator made are no answers, so there are no corrections to put in their place",
            hint="run.reviews(TASK) lists what people said of its answers; run.save_rows(TASK, FILE, corrected=True) "
            "writes the answers with it.",
        )
    return [with_verdict(row, said.get(row["index"])) for row in rows]


def with_verdict(row: Mapping[str, Any], of_row: RowVerdict | None) -> dict[str, Any]:
    """A row with what people say of it."""
    review = {
        "corrected": of_row is not None and of_row.corrected,
        "reviewed_by": ", ".join(of_row.people) if of_row is not None else None,
        "disputed": of_row is not None and of_row.disputed,
    }
    output = row["output"] if of_row is None else of_row.output
    return {**row, "output": output, "review": review}


RowChange = Callable[[Mapping[str, Any]], Mapping[str, Any]]


async def correcting(aio: AsyncClient, run: str, task: str) -> RowChange:
    """A function that puts what people say into a row."""
    said = verdicts(await all_reviews(aio, run, task))
    return lambda row: with_verdict(row, said.get(row["index"]))
