"""Bodies of reviews: who reviews is who is signed in, and no name that somebody sends."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from po_jupyter.server.routing.reviews import ReviewBody

BODY: dict[str, Any] = {"task": "label", "index": 3, "decision": "agree"}


def test_what_is_left_out_has_its_default() -> None:
    body = ReviewBody.model_validate(BODY)
    assert (body.output, body.note, body.answer, body.request) == (None, "", None, None)
    assert ReviewBody.model_validate({**BODY, "decision": "correct", "output": None}).output is None


@pytest.mark.parametrize(
    "more",
    [
        {"by": "eve"}, {"at": "2020-01-01"}, {"decision": "unsure"}, {"index": -1}, {"index": "3"}, {"index": 2**31},
        {"index": True}, {"task": ""}, {"note": "x" * 10_001}, {"request": ""}, {"answer": "x" * 101},
    ],
)  # fmt: skip
def test_a_name_a_time_and_other_values_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReviewBody.model_validate({**BODY, **more})
