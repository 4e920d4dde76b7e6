"""A sliding window over use: sums of the trailing seconds, in slots of time, so its size does not grow with calls."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from math import ceil
from typing import NamedTuple, TypeAlias

KINDS = ("requests", "tokens", "input_tokens", "output_tokens")
Amounts: TypeAlias = tuple[int, int, int, int]  # in the order of KINDS
NOTHING: Amounts = (0, 0, 0, 0)


class Cost(NamedTuple):
    """Tokens of one call, guessed or counted."""

    input: int = 0
    output: int = 0

    @property
    def amounts(self) -> Amounts:
        """The call's part of each kind."""
        return (1, self.input + self.output, self.input, self.output)

    def of(self, kind: str) -> int:
        """The call's part of a kind, also of `concurrency`."""
        return 1 if kind == "concurrency" else self.amounts[KINDS.index(kind)]


class SlidingWindow:
    """Sums of what was used in the trailing `keep` seconds. Times are seconds of any one clock.

    An amount counts from its time on until `keep` seconds later, and up to one slot longer: never shorter.
    """

    def __init__(self, keep: float, *, slots: int = 600) -> None:
        """`slots` is how finely time is divided."""
        self._keep = keep
        self._slot = keep / slots
        self._order: list[int] = []
        self._slots: dict[int, list[int]] = {}
        self._gone = -(10**18)  # slots up to this one have expired
        self.sums = [0, 0, 0, 0]

    def add(self, at: float, amounts: Amounts, sign: int = 1, *, now: float | None = None) -> None:
        """Count (or, with sign -1, take back) amounts of a time; expired ones are ignored.

        With `now`, what is older than `keep` is forgotten first.
        """
        if now is not None:
            self.expire(now)
        index = ceil(at / self._slot)
        if index <= self._gone:
            return
        slot = self._slots.get(index)
        if slot is None:
            if sign < 0:
                return
            slot = self._slots[index] = [0, 0, 0, 0]
            insort(self._order, index)
        for kind, amount in enumerate(amounts):
            slot[kind] += sign * amount
            self.sums[kind] += sign * amount

    def expire(self, now: float) -> None:
        """Forget what is older than `keep`."""
        while self._order and self._ends(self._order[0]) <= now:
            self._gone = self._order.pop(0)
            for kind, amount in enumerate(self._slots.pop(self._gone)):
                self.sums[kind] -= amount

    def _ends(self, index: int) -> float:
        return index * self._slot + self._keep

    def frees(self, kind: int, excess: float) -> float | None:
        """The time at which the sum of a kind will be smaller by `excess`; None: it is not that large."""
        for index in self._order:
            excess -= self._slots[index][kind]
            if excess <= 0:
                return self._ends(index)
        return None

    def since(self, at: float) -> list[int]:
        """The sums of the amounts at `at` or later."""
        sums = [0, 0, 0, 0]
        for index in reversed(self._order):
            if index * self._slot < at:
                break
            for kind, amount in enumerate(self._slots[index]):
                sums[kind] += amount
        return sums

    def copy(self, now: float) -> SlidingWindow:
        """An independent copy."""
        self.expire(now)
        other = SlidingWindow(self._keep)
        other._slot, other._gone = self._slot, self._gone
        other._order, other.sums = list(self._order), list(self.sums)
        other._slots = {index: list(slot) for index, slot in self._slots.items()}
        return other

    def rows(self, now: float) -> Iterator[tuple[float, Amounts]]:
        """(seconds ago, amounts) of each slot with something in it."""
        self.expire(now)
        for index in self._order:
            requests, tokens, input, output = self._slots[index]
            if requests or tokens:
                yield max(0.0, now - index * self._slot), (requests, tokens, input, output)
