"""How far people and the model agree: of each person with the model, and of each two people, with Cohen's kappa."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from po_jupyter.client.http.reviews import ReviewJson
from po_jupyter.client.reviews.choices import Choices
from po_jupyter.evals.kappa import Agreement, cohen_kappa
from po_jupyter.model.values.canonical import canonical

MODEL = "the model"  # no user is called so


class PairAgreement(NamedTuple):
    """The agreement of two, each a person or `MODEL`, over the rows that both labelled."""

    first: str
    second: str
    agreement: Agreement


class ReviewSummary(NamedTuple):
    """What came of the reviews of a map. `str()` of it is for people. `rows` have a review that counts, of which
    `corrected` say otherwise than the model; `outdated` reviews are of answers that are others by now."""

    task: str
    field: str | None
    rows: int
    corrected: int
    disputed: tuple[int, ...]
    outdated: int
    pairs: tuple[PairAgreement, ...]

    def __str__(self) -> str:
        """A line for the rows, one for each pair, one for the rows that people dispute."""
        if not self.rows:
            return f"{self.task}: no reviews yet" + (f", {self.outdated} outdated" if self.outdated else "")
        head = f"{self.task}: {_count(self.rows, 'row')} reviewed, {self.corrected} corrected"
        if self.outdated:
            head += f", {_count(self.outdated, 'review')} outdated (the rows have other answers by now)"
        lines = [head]
        for first, second, (rows, same, kappa) in self.pairs:
            beyond = "kappa is not defined" if kappa is None else f"kappa {kappa:.2f}"
            lines.append(f"  {first} and {second}: {same} of {rows} alike, {beyond}")
        if self.disputed:
            lines.append(f"  people say different things of row {', '.join(map(str, self.disputed[:20]))}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        """The same: it is the value of a cell."""
        return str(self)

    def kappa(self, first: str, second: str = MODEL) -> float | None:
        """Cohen's kappa of two; None where it is not defined. Raises KeyError for who labelled nothing together."""
        for pair in self.pairs:
            if {pair.first, pair.second} == {first, second}:
                return pair.agreement.kappa
        raise KeyError(f"{first} and {second} have no rows together")


def summary_of(task: str, reviews: Sequence[ReviewJson], choices: Choices | None) -> ReviewSummary:
    """The summary of reviews of one map. Labels are the values of `choices`, without them whole answers."""
    counting = [review for review in reviews if not review["outdated"]]
    labels: dict[str, dict[int, str]] = {MODEL: {}}
    for review in counting:
        labels.setdefault(f"{review['by']}", {})[review["index"]] = _label(review["output"], choices)
        if review["ok"]:
            labels[MODEL][review["index"]] = _label(review["recorded"], choices)
    people = sorted(labels.keys() - {MODEL})
    corrected = {review["index"] for review in counting if review["decision"] == "correct"}
    return ReviewSummary(
        task,
        choices.field if choices is not None else None,
        len({review["index"] for review in counting}),
        len(corrected),
        tuple(sorted({review["index"] for review in counting if review["disputed"]})),
        len(reviews) - len(counting),
        (
            *(_pair(person, MODEL, labels) for person in people),
            *(_pair(a, b, labels) for a, b in combinations(people, 2) if labels[a].keys() & labels[b].keys()),
        ),
    )


def _pair(first: str, second: str, labels: Mapping[str, Mapping[int, str]]) -> PairAgreement:
    a, b = labels[first], labels[second]
    return PairAgreement(first, second, cohen_kappa((a[index], b[index]) for index in a.keys() & b.keys()))


def _label(output: Any, choices: Choices | None) -> str:
    return canonical(output if choices is None else choices.value_in(output))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
