"""`group_by`: rows in groups by a key, and the reduction of a group to one answer, in steps where it is large.

rows of a group ──► parts that fit one prompt ──► an answer for each ──► parts of answers ──► ... ──► one answer
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from po_jupyter.engine.operators.equality import exact_key
from po_jupyter.engine.operators.plans import Outcome
from po_jupyter.engine.operators.result_rows import ResultRows, SourceRows
from po_jupyter.model.values.json import JsonObject

Fits: TypeAlias = Callable[[JsonObject, bool], bool]
"""Whether an item fits one prompt; the second argument says whether it is the one that combines answers."""


class Group(NamedTuple):
    """Rows with the same key, by their numbers."""

    key: Any
    rows: list[int]


def groups(source: SourceRows, key: Callable[[Any, int], Any]) -> list[Group]:
    """The groups in the order in which their keys are first met; null is a key as any other. Raises ValueError for a
    key that is no JSON."""
    found: dict[str, Group] = {}
    for index, row in enumerate(source.values):
        value = key(row, index)
        found.setdefault(exact_key(value), Group(value, [])).rows.append(index)
    return list(found.values())


def grouped(source: SourceRows, key: Callable[[Any, int], Any]) -> ResultRows:
    """The groups as rows `{key, rows}`."""
    made = groups(source, key)
    values = [{"key": group.key, "rows": [source.values[i] for i in group.rows]} for group in made]
    return ResultRows(values, [_places(source, group) for group in made], source.path)


def _places(source: SourceRows, group: Group) -> list[int]:
    return [source.place(index) for index in group.rows]


class _Reduction:
    """The way of one group to its answer: the values that are left, and the items that were asked about last."""

    def __init__(self, group: Group, values: list[Any]) -> None:
        self.group = group
        self.values = values
        self.combining = False
        self.asked: range | None = None  # numbers of the items of the last step
        self.outcome: Outcome | None = None  # of the whole group

    def items(self, parts: Sequence[Sequence[Any]]) -> list[JsonObject]:
        return [{"key": self.group.key, "rows": list(part)} for part in parts]

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Read the outcomes of the last step: the answer of the group, or what is asked about next."""
        assert self.asked is not None
        answers = [outcomes[index] for index in self.asked]
        failed = next((outcome for outcome in answers if not outcome["ok"]), None)
        if failed is not None or len(answers) == 1:
            self.outcome = failed or answers[0]
            return
        self.values, self.combining = [outcome["output"] for outcome in answers], True


class GroupPlan:
    """One answer for each group. Parts of a group that failed fail the group."""

    in_rounds = True

    def __init__(self, source: SourceRows, made: list[Group], fits: Fits) -> None:
        """Nothing is asked yet."""
        self.source, self._fits = source, fits
        self._reductions = [_Reduction(group, [source.values[i] for i in group.rows]) for group in made]
        self._count = 0
        self._combining: set[int] = set()
        self._first = [self._parts(reduction) for reduction in self._reductions]
        # Each step has at most half as many items as the one before, and one more where an answer is left alone.
        self.most_calls = sum(2 * len(parts) - 1 + (len(parts) - 1).bit_length() for parts in self._first)

    def next_items(self, outcomes: Sequence[Outcome]) -> Sequence[Any]:
        """See `Plan`."""
        items: list[JsonObject] = []
        for number, reduction in enumerate(self._reductions):
            if reduction.outcome is None and reduction.asked is not None:
                reduction.take(outcomes)
            if reduction.outcome is not None:
                reduction.values = []
                continue
            parts = self._parts(reduction) if reduction.combining else self._first[number]
            step = reduction.items(parts)
            start = self._count + len(items)
            reduction.asked = range(start, start + len(step))
            if reduction.combining:
                self._combining.update(reduction.asked)
            items += step
        self._count += len(items)
        return items

    def combines(self, index: int) -> bool:
        """See `Plan`."""
        return index in self._combining

    def result(self, outcomes: Sequence[Outcome]) -> ResultRows:
        """See `Plan`: `{index, key, size, ok, output, error}` of each group."""
        return self._result([reduction.outcome for reduction in self._reductions])

    def expected_result(self) -> ResultRows:
        """See `Plan`."""
        return self._result([reduction.outcome for reduction in self._reductions])

    def _result(self, outcomes: Sequence[Outcome | None]) -> ResultRows:
        values = []
        for index, (reduction, outcome) in enumerate(zip(self._reductions, outcomes, strict=True)):
            outcome = outcome or {"ok": False, "output": None, "error": None}
            group = reduction.group
            values.append({
                "index": index, "key": group.key, "size": len(group.rows),
                "ok": outcome["ok"], "output": outcome["output"], "error": outcome["error"],
            })  # fmt: skip
        places = [_places(self.source, reduction.group) for reduction in self._reductions]
        return ResultRows(values, [*places], self.source.path)

    def _whole(self, reduction: _Reduction) -> bool:
        return self._fit(reduction, reduction.values)

    def _fit(self, reduction: _Reduction, values: Sequence[Any]) -> bool:
        (item,) = reduction.items([values])
        return self._fits(item, reduction.combining)

    def _parts(self, reduction: _Reduction) -> list[Sequence[Any]]:
        """The values in parts, each as large as fits: one part where all of them do. Where no two answers fit
        together, all of them are one: nothing smaller would end."""
        values = reduction.values
        if self._whole(reduction):
            return [values]
        least = 2 if reduction.combining else 1
        parts: list[Sequence[Any]] = []
        start, guess = 0, 16
        while start < len(values):
            size = self._most_that_fit(reduction, values, start, guess)
            size = max(least, size)
            parts.append(values[start : start + size])
            start, guess = start + size, size
        if least > 1 and len(parts) > 1 and len(parts[-1]) == 1 and len(parts[-2]) > least:
            *rest, last = parts[-2]  # which has company then
            parts[-2:] = [rest, [last, *parts[-1]]]
        return parts

    def _most_that_fit(self, reduction: _Reduction, values: Sequence[Any], start: int, guess: int) -> int:
        """How many of the values from `start` on fit one prompt together, found by doubling and halving."""
        left = len(values) - start
        low, high = 0, min(guess, left)
        while self._fit(reduction, values[start : start + high]):
            if high == left:
                return high
            low, high = high, min(2 * high, left)
        while high - low > 1:
            middle = (low + high) // 2
            if self._fit(reduction, values[start : start + middle]):
                low = middle
            else:
                high = middle
        return low
