"""Corrections: what people say in the place of what the model said, and who said it."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.client.http.reviews import ReviewJson
from po_jupyter.client.reviews.corrections import all_reviews, corrected_rows, correcting, verdicts
from po_jupyter.errors import InvalidInput


def review(index: int, by: str, output: str, *, at: int = 0, **more: Any) -> ReviewJson:
    fields: Any = {
        "task": "label", "index": index, "id": f"{index}{by}", "by": by, "at": f"2026-11-27T08:00:{at:02}.000Z",
        "decision": "agree" if output == "bug" else "correct", "answer": "d", "output": output, "note": "", "ok": True,
        "recorded": "bug", "outdated": False, "mine": False, "disputed": False, **more,
    }  # fmt: skip
    return fields  # type: ignore[no-any-return]


class Reviews:
    """The reviews of a server, two to a page."""

    def __init__(self, *reviews: ReviewJson) -> None:
        self.inspection = self.reviews = self
        self._all = list(reviews)

    async def page(
        self, run: str, task: str, *, cursor: str | None = None, limit: int = 0
    ) -> tuple[list[ReviewJson], str | None]:
        start = int(cursor or 0)
        return self._all[start : start + 2], str(start + 2) if start + 2 < len(self._all) else None


def test_most_people_decide_and_of_as_many_the_last() -> None:
    said = [
        review(0, "ann", "question", at=1),
        review(0, "bob", "question", at=2),
        review(0, "cid", "bug", at=3),
    ]
    (first,) = verdicts(said).values()
    assert first == ("question", True, ("ann", "bob", "cid"), True)
    (second,) = verdicts(said[1:]).values()
    assert (second.output, second.corrected, second.disputed) == ("bug", False, True)


def test_a_row_that_failed_is_corrected_by_any_answer() -> None:
    (verdict,) = verdicts([review(0, "ann", "bug", ok=False, recorded=None)]).values()
    assert verdict.corrected


@pytest.mark.parametrize("output", ["question", "bug"])
def test_what_is_outdated_changes_nothing(output: str) -> None:
    rows = [{"index": 0, "ok": True, "output": "praise"}]
    (row,) = corrected_rows(rows, verdicts([review(0, "ann", output, outdated=True)]))
    assert row == {**rows[0], "review": {"corrected": False, "reviewed_by": None, "disputed": False}}


async def test_all_pages_are_read_and_put_into_rows() -> None:
    aio: Any = Reviews(review(0, "ann", "bug"), review(1, "ann", "question"), review(2, "bob", "question"))
    assert len(await all_reviews(aio, "run", "label")) == 3
    correct = await correcting(aio, "run", "label")
    assert correct({"index": 2, "output": "bug"})["output"] == "question"
    assert correct({"index": 2, "output": "bug"})["review"]["reviewed_by"] == "bob"
    assert correct({"index": 9, "output": "bug"})["review"]["corrected"] is False


def test_rows_that_an_operator_made_have_no_corrections_in_their_place() -> None:
    """They are numbered otherwise than what was asked: a correction would stand beside another row."""
    made: list[Any] = [{"index": 0, "ok": True, "output": {"text": "the third"}, "error": None, "columns": {}}]
    with pytest.raises(InvalidInput, match="operator"):
        corrected_rows(made, verdicts([review(0, "ann", "question")]))
