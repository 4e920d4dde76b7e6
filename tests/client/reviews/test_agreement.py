"""How far people and the model agree, and what of their reviews counts."""

from typing import Any

import pytest

from po_jupyter.client.http.reviews import ReviewJson
from po_jupyter.client.reviews.agreement import summary_of
from po_jupyter.client.reviews.choices import Choices

CHOICES = Choices("label", ("bug", "question"))


def review(
    index: int, by: str, output: str, recorded: str | None = "bug", at: int = 0, **more: Any
) -> ReviewJson:
    answer = None if recorded is None else {"label": recorded}
    fields: Any = {
        "task": "label", "index": index, "id": f"{index}{by}{at}", "by": by, "at": f"2026-11-27T08:00:{at:02}.000Z",
        "decision": "agree" if output == recorded else "correct", "answer": "d", "output": {"label": output},
        "note": "", "ok": recorded is not None, "recorded": answer, "outdated": False, "mine": by == "ann",
        "disputed": False, **more,
    }  # fmt: skip
    return fields  # type: ignore[no-any-return]


def test_kappa_of_a_person_and_the_model_and_of_two_people() -> None:
    """The example of scikit-learn's documentation, 0.6875, as labels of ann and the model."""
    model = ["n", "p", "n", "u", "p"]
    ann = ["n", "p", "n", "u", "n"]
    reviews = [review(i, "ann", a, m) for i, (a, m) in enumerate(zip(ann, model, strict=True))]
    reviews += [review(i, "bob", m, m) for i, m in enumerate(model)]
    summary = summary_of("label", reviews, CHOICES)
    assert summary.kappa("ann") == summary.kappa("ann", "bob") == pytest.approx(0.6875)
    assert summary.kappa("bob") == 1.0
    assert (summary.rows, summary.corrected) == (5, 1)
    assert "ann and bob: 4 of 5 alike, kappa 0.69" in str(summary)
    with pytest.raises(KeyError):
        summary.kappa("carl")


def test_a_whole_number_is_the_same_label_with_a_point_and_without() -> None:
    numbers: Any = [
        review(i, "ann", n, m) for i, (n, m) in enumerate([(1, 1.0), (2, 2.0), (True, 1), ("1", 1)])
    ]
    (pair,) = summary_of("label", numbers, CHOICES).pairs
    assert (pair.agreement.rows, pair.agreement.same) == (4, 2)


def test_what_is_outdated_does_not_count_and_is_said() -> None:
    summary = summary_of("label", [review(0, "ann", "question", outdated=True)], CHOICES)
    assert (summary.rows, summary.outdated, summary.pairs) == (0, 1, ())
    assert str(summary) == "label: no reviews yet, 1 outdated"


def test_a_row_that_failed_is_no_label_of_the_model() -> None:
    summary = summary_of("label", [review(0, "ann", "bug", None), review(1, "ann", "bug")], CHOICES)
    assert summary.pairs[0].agreement.rows == 1
    assert "kappa is not defined" in str(summary)


def test_disputed_rows_are_named() -> None:
    reviews = [review(7, "ann", "bug", disputed=True), review(7, "bob", "question", disputed=True)]
    assert "people say different things of row 7" in str(summary_of("label", reviews, CHOICES))


def test_as_the_value_of_a_cell_it_is_for_people_too() -> None:
    """A cell showed the fields of the tuple."""
    summary = summary_of("label", [], None)
    assert repr(summary) == str(summary) == "label: no reviews yet"
