"""What a judge said, by the rows that it judged: found wherever they begin, and of the answers of now alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from po_jupyter.errors import InvalidInput
from po_jupyter.evals.metrics import Measured
from po_jupyter.orchestrator.scores.verdicts import (
    NOT_ASKED,
    NOT_JUDGED,
    OTHER_ANSWER,
    verdict_on,
    verdicts_on,
)
from po_jupyter.orchestrator.views.inspection.rows import AnsweredRow


class Table:
    """The map of a judge who was asked about rows 0, 2, 4 and so on; the last one is not answered yet."""

    def __init__(self, total: int, **changed: Any) -> None:
        self.columns = SimpleNamespace(total=total)
        self._changed = changed

    def answered(self, places: Any) -> list[AnsweredRow]:
        return [self._row(place) for place in places]

    def rows(self, places: list[int]) -> list[Any]:
        return [{"index": place, "error": {"message": "refused"}} for place in places]

    def _row(self, place: int) -> AnsweredRow:
        asked = {"index": 2 * place, "output": "bug", **self._changed}
        if place == self.columns.total - 1:
            return AnsweredRow(place, "pending", asked, None)
        if place == 1:
            return AnsweredRow(place, "failed", asked, None)
        return AnsweredRow(place, "done", asked, {"score": place, "reason": "so"})


def verdicts(table: Table, indexes: range) -> dict[int, Any]:
    return verdicts_on(table, "0193f00000000000aaaaaa", indexes)


def test_verdicts_are_found_from_any_row_on() -> None:
    found = verdicts(Table(10), range(5, 10))
    assert {index: one.measured.value for index, one in found.items()} == {6: 3.0, 8: 4.0}
    first = verdicts(Table(10), range(4))
    assert first[2].measured == Measured(None, "the judge: refused") and list(first) == [0, 2]
    assert verdicts(Table(10), range(18, 30))[18].measured.note == NOT_JUDGED
    assert verdicts(Table(10), range(40, 50)) == {}


def test_a_verdict_is_of_the_answer_that_was_judged() -> None:
    found = verdicts(Table(10), range(1))
    assert verdict_on(found[0], "bug") == Measured(0.0, "so")
    assert verdict_on(found[0], "wish").note == OTHER_ANSWER
    assert verdict_on(None, "bug").note == NOT_ASKED


def test_a_map_of_other_rows_is_no_judge() -> None:
    with pytest.raises(InvalidInput, match="did not judge recorded answers"):
        verdicts(Table(10, index=None), range(4))
