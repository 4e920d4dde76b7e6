"""Reviews: digests of answers, and which review of a row counts."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.model.run.review import (
    ReviewView,
    answer_digest,
    canonical_json,
    corrections_of,
    counting,
    is_disputed,
    recorded_review,
    verdict,
)


def view(index: int, output: object, at: str = "1", **more: Any) -> ReviewView:
    fields: Any = {"index": index, "output": output, "at": at, "outdated": False, **more}
    return fields  # type: ignore[no-any-return]


def test_the_digest_is_of_the_answer_whatever_the_order_of_its_fields() -> None:
    digest = answer_digest(True, {"a": 1, "b": [1, None]})
    assert answer_digest(True, {"b": [1, None], "a": 1}) == digest
    others: list[Any] = [{"a": 1, "b": [1]}, {"a": "1", "b": [1, None]}, None, "x", {"a": 1.5}, {"a": True}]
    assert len({answer_digest(True, other) for other in others} | {digest}) == len(others) + 1


def test_a_row_that_failed_has_a_digest_whatever_is_left_of_an_output() -> None:
    assert answer_digest(False, None) == answer_digest(False, "left over")
    assert answer_digest(False, None) != answer_digest(True, None)


@pytest.mark.parametrize("value", ["\ud800", "\u2028", {"\x00": 1}, 10**40, [], 1e300])
def test_every_json_value_has_a_digest(value: object) -> None:
    assert answer_digest(True, value) == answer_digest(True, value)
    canonical_json(value).encode("ascii")


def test_reviews_of_earlier_answers_do_not_count() -> None:
    reviews = [view(1, "b", "2"), view(1, "a", "1"), view(2, "c", outdated=True), view(3, "d")]
    assert {index: [r["output"] for r in found] for index, found in counting(reviews).items()} == {
        1: ["a", "b"], 3: ["d"],
    }  # fmt: skip
    assert corrections_of(reviews) == {1: "b", 3: "d"}


def test_the_verdict_is_that_of_most_and_of_as_many_the_last_one() -> None:
    assert verdict([view(0, {"x": 1, "y": 2}), view(0, "other"), view(0, {"y": 2, "x": 1})]) == {"x": 1, "y": 2}
    assert verdict([view(0, "first"), view(0, "last")]) == "last"
    assert (
        is_disputed(["a", "b"])
        and not is_disputed([{"x": 1, "y": 2}, {"y": 2, "x": 1}])
        and not is_disputed([])
    )


def test_an_event_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    review = recorded_review(
        "label", 3, "now", {"id": "r", "by": "ann", "decision": "unsure", "answer": "d", "new": 1}
    )
    assert (review["decision"], review["output"], review["note"]) == ("agree", None, "")
