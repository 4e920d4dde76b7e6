"""One row of a map with where it is from: the calls that made it as they were sent, the raw answers, and who said
otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from po_jupyter.client.http.inspection_payloads import ModelCallJson
from po_jupyter.client.reviews.corrections import all_reviews, verdicts
from po_jupyter.errors import Forbidden, InvalidInput, NotFound
from po_jupyter.model.run.names import short_id
from po_jupyter.model.values.whole_numbers import whole_number
from po_jupyter.presentation.row_details import row_html, row_text

if TYPE_CHECKING:
    from po_jupyter.client.async_client import AsyncClient

_CALLS = 100  # of one row that are read whole
_PAGE = 500


class RowDetails(dict[str, Any]):
    """A row of a map, `{index, state, input, output, error, attempts, tokens, cost_usd, seconds, model, ...}`, with:

    `run` and `task`; `provenance`: `{model, prompt_hash, asked_at, attempt, reused_from}`; `calls`: all calls of the
    row in the run that paid for it, with `messages` as they were sent and the raw `answer`; `correction`: what people
    said in reviews, `{output, corrected, by, disputed}`, None where nobody did; `expected`: of a row of a scored map
    `{scores, value, problem}` each, what the scores of these names expect; `notes`: what is not known, and why.
    It prints itself, and draws itself in a cell.
    """

    def __str__(self) -> str:
        """All of it as text, safe for a terminal."""
        return row_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return row_html(self)


async def row_details(aio: AsyncClient, run: str, task: str, index: int) -> RowDetails:
    """A row of a map, whole. A row that was reused has the calls of the run that paid for it. Raises NotFound."""
    inspection = aio.inspection
    row = await inspection.row(run, task, index)
    provenance = next(iter(await inspection.provenance(run, task, index)), None)
    place, notes = (run, task, index), list[str]()
    if provenance is not None and provenance["reused_from"] is not None:
        origin_run, origin_task, origin_index = provenance["reused_from"].split("/")
        place = origin_run, origin_task, int(origin_index)
    calls: list[ModelCallJson] = []
    try:
        calls, more = await _calls(aio, *place)
        if more:
            notes.append(f"the first {_CALLS} calls of {more:,} are shown")
    except (NotFound, Forbidden):
        notes.append(
            f"run {short_id(place[0])}, which paid for this row, is gone: its calls are not known any more"
        )
    if not calls and not notes:
        notes.append(_without_calls(row["state"]))
    scored = "scores" in row or row["state"] == "failed"  # what is expected of a row is known without an answer
    expected = await inspection.expected(run, task, index) if scored else []
    verdict = verdicts([r for r in await all_reviews(aio, run, task) if r["index"] == index]).get(index)
    correction = None
    if verdict is not None:
        correction = {"output": verdict.output, "corrected": verdict.corrected, "by": list(verdict.people),
                      "disputed": verdict.disputed}  # fmt: skip
    return RowDetails(
        {**row, "run": run, "task": task, "provenance": provenance, "calls": calls, "correction": correction,
         "expected": expected, "notes": notes}
    )  # fmt: skip


async def _calls(aio: AsyncClient, run: str, task: str, index: int) -> tuple[list[ModelCallJson], int]:
    """The calls of a row, whole, and how many there are where they are too many to read."""
    listed: list[ModelCallJson] = []
    start: int | None = 0
    while start is not None:
        page, start = await aio.inspection.calls(run, task=task, row=index, start=start, limit=_PAGE)
        listed += page
    whole = [await aio.inspection.call(run, call["n"]) for call in listed[:_CALLS]]
    return whole, len(listed) if len(listed) > _CALLS else 0


def _without_calls(state: str) -> str:
    if state in ("pending", "running"):
        return "no model was asked about this row yet"
    return "no model was asked about this row: its answer is computed, by Python or by expressions"


def row_place(text: str) -> tuple[str, int]:
    """The task and the number of `TASK:N`. Raises InvalidInput."""
    task, _, number = text.rpartition(":")
    row = whole_number(number)
    if not task or row is None:
        raise InvalidInput(f"{text!r:.80} is no row", hint="--row TASK:N, for example --row label:17.")
    return task, row
