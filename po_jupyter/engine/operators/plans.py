"""Plans of operators that ask a model: which items are asked about, round by round, and the rows that the answers make.

A plan is a function of its list and of the answers so far, so a worker that takes over after a crash makes the same
rounds of the answers that are recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from po_jupyter.engine.operators.result_rows import ResultRows, SourceRows, selected
from po_jupyter.engine.operators.top_k import best
from po_jupyter.model.values.json import JsonObject

Outcome: TypeAlias = JsonObject
"""How one item came out: `{index, ok, output, error}`."""
AnswerValue: TypeAlias = Callable[[Any, Any, int], Any]
"""The value of an expression for an item, the answer about it and the item's number."""


class Plan(Protocol):
    """The items of an operator.

    most_calls  items at most, whatever the answers are
    in_rounds   whether answers decide which items come next
    source      the rows that the items are, where each is one, with their places
    """

    most_calls: int
    in_rounds: bool
    source: SourceRows

    def next_items(self, outcomes: Sequence[Outcome]) -> Sequence[Any]:
        """The items to ask about next, given the outcomes of all items so far; empty when no more is to be asked."""

    def result(self, outcomes: Sequence[Outcome]) -> ResultRows:
        """The rows that the outcomes of all items make. Raises ValueError."""

    def expected_result(self) -> ResultRows:
        """The rows before anything was asked, as the estimate takes them: as many as there may be."""

    def combines(self, index: int) -> bool:
        """Whether an item is asked about with the prompt that combines answers."""


class OneRoundPlan:
    """A plan whose items are known before the first answer."""

    in_rounds = False

    def __init__(self, source: SourceRows) -> None:
        """The plan whose items are the rows of `source`."""
        self.source = source
        self._items = source.values
        self.most_calls = len(source.values)

    def next_items(self, outcomes: Sequence[Outcome]) -> Sequence[Any]:
        """See `Plan`."""
        return self._items if not outcomes else []

    def combines(self, index: int) -> bool:
        """See `Plan`."""
        return False


class SelectPlan(OneRoundPlan):
    """The rows, or pairs, whose answer says that they stay. `columns` are those of all items."""

    def __init__(
        self, source: SourceRows, keeps: AnswerValue, columns: dict[str, list[Any]] | None = None
    ) -> None:
        """`keeps` is true of an item and its answer."""
        super().__init__(source)
        self._keeps, self._columns = keeps, columns or {}

    def result(self, outcomes: Sequence[Outcome]) -> ResultRows:
        """See `Plan`: a row that failed does not stay."""
        kept = [
            index
            for index, (item, outcome) in enumerate(zip(self._items, outcomes, strict=True))
            if outcome["ok"] and self._keeps(item, outcome["output"], index)
        ]
        return self._of(kept)

    def expected_result(self) -> ResultRows:
        """See `Plan`: all stay."""
        return self._of(range(len(self._items)))

    def _of(self, indexes: Sequence[int]) -> ResultRows:
        columns = {name: [values[index] for index in indexes] for name, values in self._columns.items()}
        return selected(self.source, indexes, **columns)


class ScorePlan(OneRoundPlan):
    """The `k` rows whose answer has the largest value."""

    def __init__(self, source: SourceRows, k: int, score: AnswerValue) -> None:
        """`score` is the value of a row and its answer."""
        super().__init__(source)
        self._k, self._score = k, score

    def result(self, outcomes: Sequence[Outcome]) -> ResultRows:
        """See `Plan`: a row that failed is not among them."""
        scores = {
            index: self._score(item, outcome["output"], index)
            for index, (item, outcome) in enumerate(zip(self._items, outcomes, strict=True))
            if outcome["ok"]
        }
        chosen = best(scores, self._k)
        return selected(self.source, chosen, rank=_ranks(chosen), score=[scores[index] for index in chosen])

    def expected_result(self) -> ResultRows:
        """See `Plan`."""
        chosen = range(min(self._k, len(self._items)))
        return selected(self.source, chosen, rank=_ranks(chosen), score=[0 for _ in chosen])


def _ranks(chosen: Sequence[int]) -> list[int]:
    return list(range(1, len(chosen) + 1))
