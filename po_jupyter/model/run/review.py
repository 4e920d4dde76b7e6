"""Reviews: what people said about the answers of a map's rows. A review changes no answer; it stands beside it. Pure.

A review is of the answer that the person saw, by its digest: after that row was asked again and answered otherwise, the
review is `outdated` and counts no longer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Literal, NotRequired, TypedDict

from po_jupyter.model.values.canonical import canonical
from po_jupyter.model.values.digests import short_digest

Decision = Literal["agree", "correct"]


class ItemReviewedData(TypedDict):
    """A person judged the answer of the row. `decision`: it is right as it is (`agree`), or `output` would be
    (`correct`); `answer`: the digest of the answer that they saw; `id`: of the request, which is recorded once."""

    id: str
    by: str
    decision: Decision
    answer: str
    output: NotRequired[object]
    note: NotRequired[str]


class RecordedReview(TypedDict):
    """A review as the log has it. `output` is what the person says is right, None where they agree."""

    task: str
    index: int
    id: str
    by: str
    at: str
    decision: Decision
    answer: str
    output: object
    note: str


class ReviewView(RecordedReview):
    """A review beside the answer of now. `ok` and `recorded`: that answer; `output`: what is right according to the
    person, also where they agree; `outdated`: the row has another answer since; `mine`: the caller's own; `disputed`:
    reviews of several people that count say different things."""

    ok: bool
    recorded: object
    outdated: bool
    mine: bool
    disputed: bool
    row: NotRequired[int]


def answer_digest(ok: bool, output: object) -> str:
    """The same for the same answer of a row, whatever the order of its fields; a row that failed has one, too."""
    return short_digest(canonical_json([bool(ok), output if ok else None]))


def canonical_json(value: object) -> str:
    """The text of a JSON value that is the same for values that are the same."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def counting(reviews: Iterable[ReviewView]) -> dict[int, list[ReviewView]]:
    """The reviews that count by row, the oldest first: of each person the last, where it is of the answer of now."""
    by_row: dict[int, list[ReviewView]] = {}
    for review in sorted(reviews, key=lambda review: review["at"]):
        if not review["outdated"]:
            by_row.setdefault(review["index"], []).append(review)
    return by_row


def is_disputed(outputs: Iterable[object]) -> bool:
    """Whether people say different things of one row."""
    return len({canonical(output) for output in outputs}) > 1


def verdict(reviews: list[ReviewView]) -> object:
    """What is right according to the reviews of one row that count, the oldest first: what most people say; of as many
    the one that somebody said last."""
    sides: dict[str, list[int]] = {}
    for place, review in enumerate(reviews):
        sides.setdefault(canonical(review["output"]), []).append(place)
    places = max(sides.values(), key=lambda places: (len(places), places[-1]))
    return reviews[places[-1]]["output"]


def corrections_of(reviews: Iterable[ReviewView]) -> dict[int, object]:
    """What is right according to people, by row: the gold column that answers can be measured with."""
    return {index: verdict(of_row) for index, of_row in counting(reviews).items()}


def recorded_review(task: str, index: int, at: str, data: Mapping[str, object]) -> RecordedReview:
    """The review in an event `item.reviewed`."""
    return {
        "task": task,
        "index": index,
        "at": at,
        "id": str(data.get("id", "")),
        "by": str(data.get("by", "")),
        "decision": "correct" if data.get("decision") == "correct" else "agree",
        "answer": str(data.get("answer", "")),
        "output": data.get("output"),
        "note": str(data.get("note") or ""),
    }
