"""The rows of one map in two runs, beside each other: which answers changed, and what each run paid for them.

Rows are joined by their input (the next one with the same input, where there are several), those that are left by
their index. Where both maps have variants, a row is joined with one that the variant of the same name answered.
Nothing is asked of a model.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from threading import Lock
from typing import Generic, Literal, NamedTuple, TypedDict, TypeVar

from po_jupyter.model.run.comparing import PairedScore
from po_jupyter.orchestrator.views.inspection.row_contents import RowContent
from po_jupyter.orchestrator.views.inspection.rows import TableRow

Change = Literal["changed", "only_a", "only_b", "failed", "open", "same"]
ORDER: tuple[Change, ...] = ("changed", "only_a", "only_b", "failed", "open", "same")
_KEPT = 4  # comparisons
T = TypeVar("T")


class RowPair(NamedTuple):
    """The row of run A and that of run B, by index; None where the run has none. `by_input`: they had the same one."""

    change: Change
    a: int | None
    b: int | None
    by_input: bool


class ComparedRow(TypedDict):
    """A pair as a page has it; the sides are as in a table of rows, None where a run has no such row."""

    change: Change
    by_input: bool
    a: TableRow | None
    b: TableRow | None


class SideSummary(TypedDict):
    """The map in one of the runs. `cost_usd` is None when a price is unknown."""

    run: str
    rows: int
    done: int
    failed: int
    tokens: int
    cost_usd: float | None
    seconds: float
    models: list[str]


class ComparisonSummary(TypedDict):
    """How many pairs there are of each kind. `agreement`: the share of equal answers where both have one or one failed;
    None without such a pair. `by_index`: pairs whose inputs differ, or are not known. `scores`: those that both
    have."""

    changed: int
    only_a: int
    only_b: int
    failed: int
    open: int
    same: int
    agreement: float | None
    by_index: int
    a: SideSummary
    b: SideSummary
    scores: list[PairedScore]


class Pairs(NamedTuple):
    """All pairs, those that changed first, and the numbers of them."""

    rows: list[RowPair]
    counts: dict[Change, int]
    by_index: int


def pair_rows(a: Sequence[RowContent], b: Sequence[RowContent]) -> Pairs:
    """The pairs, those that changed first, else in the order of run A."""
    free: dict[tuple[str, str | None], deque[int]] = {}
    for index, row in enumerate(b):
        same_place = index < len(a) and _key(a[index]) == _key(row)
        if row.input is not None and not same_place:
            free.setdefault((row.input, row.variant), deque()).append(index)
    partner: list[int | None] = []
    for index, row in enumerate(a):
        if row.input is None:
            partner.append(None)
        elif index < len(b) and _key(b[index]) == _key(row):
            partner.append(index)
        else:
            others = free.get((row.input, row.variant))
            partner.append(others.popleft() if others else None)
    taken = {index for index in partner if index is not None}
    pairs: list[RowPair] = []
    for index, row in enumerate(a):
        other, by_input = partner[index], partner[index] is not None
        if other is None and index < len(b) and index not in taken and row.variant == b[index].variant:
            other = index
            taken.add(index)
        change = "only_a" if other is None else _change(row, b[other])
        pairs.append(RowPair(change, index, other, by_input))
    pairs += [RowPair("only_b", None, index, False) for index in range(len(b)) if index not in taken]
    pairs.sort(key=lambda pair: ORDER.index(pair.change))
    counts: dict[Change, int] = dict.fromkeys(ORDER, 0)
    for pair in pairs:
        counts[pair.change] += 1
    by_index = sum(pair.a is not None and pair.b is not None and not pair.by_input for pair in pairs)
    return Pairs(pairs, counts, by_index)


def _key(row: RowContent) -> tuple[str | None, str | None]:
    return row.input, row.variant


def _change(a: RowContent, b: RowContent) -> Change:
    states = {a.state, b.state}
    if not states <= {"done", "failed"}:
        return "open"
    if states == {"failed"}:
        return "failed"
    if a.unreadable or b.unreadable:
        return "open"  # of an answer that cannot be read nobody knows whether it is the same
    return "same" if a.state == b.state and a.output == b.output else "changed"


def summary_of(pairs: Pairs, a: SideSummary, b: SideSummary, scores: list[PairedScore]) -> ComparisonSummary:
    """The numbers of a comparison."""
    counts = pairs.counts
    judged = counts["same"] + counts["changed"]
    return {
        "changed": counts["changed"], "only_a": counts["only_a"], "only_b": counts["only_b"],
        "failed": counts["failed"], "open": counts["open"], "same": counts["same"],
        "agreement": counts["same"] / judged if judged else None, "by_index": pairs.by_index, "a": a, "b": b,
        "scores": scores,
    }  # fmt: skip


class PairCache(Generic[T]):
    """What was compared last, by the runs as they were. Safe for several threads."""

    def __init__(self) -> None:
        """Without any."""
        self._lock = Lock()
        self._pairs: OrderedDict[tuple[object, ...], T] = OrderedDict()

    def get(self, key: tuple[object, ...]) -> T | None:
        """What was made of the same."""
        with self._lock:
            return self._pairs.get(key)

    def keep(self, key: tuple[object, ...], pairs: T) -> None:
        """Keep it, and forget the oldest."""
        with self._lock:
            self._pairs[key] = pairs
            while len(self._pairs) > _KEPT:
                self._pairs.popitem(last=False)
