"""`top_k` by pairs: the best rows by comparing two at a time, with few comparisons.

Tournament selection (Knuth, The Art of Computer Programming 3, 5.2.3): the rows meet in the pairs of a balanced tree,
level by level, and the winner is the best. It is taken out, and only the matches on its way are played again: n - 1
comparisons for the first, at most ⌈log2 n⌉ for each that follows. All matches of a level are independent of each other.

The earlier row is always `left`. It wins where the comparison failed, and where the answer names neither.
No two rows are compared twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from po_jupyter.engine.operators.plans import Outcome
from po_jupyter.engine.operators.result_rows import ResultRows, SourceRows, selected

_OUT = -1  # of a place in the tree: nobody
_OPEN = -2  # a match that is not decided yet


class Match(NamedTuple):
    """Two rows to compare, the earlier one first."""

    left: int
    right: int


class Tournament:
    """The matches of `n` rows until the `k` best are known, which `ranking` has, the best first."""

    def __init__(self, n: int, k: int) -> None:
        """Nothing is played yet."""
        self.n, self.k = n, min(n, k)
        self.ranking: list[int] = []
        self._results: dict[Match, int] = {}
        size = 1
        while size < n:
            size *= 2
        self._first = size - 1 if n else 0  # of the leaves, in an array as a heap has it
        self._tree = [_OPEN] * self._first + list(range(n)) + [_OUT] * (size - n if n else 0)
        self._undecided = list(range(self._first - 1, -1, -1))
        self._settle()

    @staticmethod
    def most_matches(n: int, k: int) -> int:
        """Comparisons at most."""
        k = min(n, k)
        return 0 if n < 2 or k < 1 else n - 1 + (k - 1) * (n - 1).bit_length()

    def matches(self) -> list[Match]:
        """The matches that can be played now, in the order of the rows; none once the ranking is whole."""
        if len(self.ranking) == self.k:
            return []
        ready = {self._match(node) for node in self._undecided if self._is_ready(node)}
        return sorted(ready)

    def record(self, match: Match, winner: int) -> None:
        """Note who won; call `settle` after all of a round."""
        self._results[match] = winner

    def settle(self) -> None:
        """Have the recorded results decide what they can."""
        self._settle()

    def _settle(self) -> None:
        while len(self.ranking) < self.k:
            self._undecided = [node for node in self._undecided if not self._decide(node)]
            if self._undecided:
                return
            champion = self._tree[0]
            self.ranking.append(champion)
            self._take_out(champion)

    def _decide(self, node: int) -> bool:
        one, two = self._tree[2 * node + 1], self._tree[2 * node + 2]
        if _OPEN in (one, two):
            return False
        if _OUT in (one, two):
            self._tree[node] = max(one, two)
            return True
        winner = self._results.get(self._match(node))
        if winner is None:
            return False
        self._tree[node] = winner
        return True

    def _take_out(self, row: int) -> None:
        node = self._first + row
        self._tree[node] = _OUT
        while node:
            node = (node - 1) // 2
            self._tree[node] = _OPEN
            self._undecided.append(node)  # from the leaf up, as `_settle` decides them

    def _is_ready(self, node: int) -> bool:
        one, two = self._tree[2 * node + 1], self._tree[2 * node + 2]
        return one >= 0 and two >= 0 and self._match(node) not in self._results

    def _match(self, node: int) -> Match:
        one, two = self._tree[2 * node + 1], self._tree[2 * node + 2]
        return Match(min(one, two), max(one, two))


class PairsPlan:
    """The `k` best rows by comparisons, each an item `{left, right}`; an answer's `better` says which."""

    in_rounds = True

    def __init__(self, source: SourceRows, k: int) -> None:
        """No comparison is asked for yet."""
        self.source = source
        self._tournament = Tournament(len(source.values), k)
        self._asked: list[Match] = []
        self._read = 0
        self.most_calls = Tournament.most_matches(len(source.values), k)

    def next_items(self, outcomes: Sequence[Outcome]) -> Sequence[Any]:
        """See `Plan`."""
        tournament = self._tournament
        for index in range(self._read, len(self._asked)):
            match, outcome = self._asked[index], outcomes[index]
            output = outcome["output"]
            right = outcome["ok"] and isinstance(output, Mapping) and output.get("better") == "right"
            tournament.record(match, match.right if right else match.left)
        self._read = len(self._asked)
        tournament.settle()
        matches = tournament.matches()
        self._asked += matches
        values = self.source.values
        return [{"left": values[match.left], "right": values[match.right]} for match in matches]

    def result(self, outcomes: Sequence[Outcome]) -> ResultRows:
        """See `Plan`."""
        return selected(self.source, self._tournament.ranking, rank=list(range(1, self._tournament.k + 1)))

    def expected_result(self) -> ResultRows:
        """See `Plan`."""
        k = self._tournament.k
        return selected(self.source, range(k), rank=list(range(1, k + 1)))

    def combines(self, index: int) -> bool:
        """See `Plan`."""
        return False
