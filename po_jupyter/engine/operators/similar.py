"""`distinct` by vectors: the first of rows whose vectors are alike."""

from __future__ import annotations

import importlib.util
import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import mul
from typing import TYPE_CHECKING, Protocol

from po_jupyter.engine.operators.plans import OneRoundPlan, Outcome
from po_jupyter.engine.operators.result_rows import ResultRows, SourceRows, selected

if TYPE_CHECKING:
    import numpy as np

MOST_COMPARED = 20_000
"""Rows that are compared at most: each with every row that stays, so the work grows with the square of their number."""
_ROUNDING = 1e-5  # of a similarity, from numbers of 32 bits
_BLOCK = 256  # vectors that are compared at once


class SimilarPlan(OneRoundPlan):
    """The rows whose vector is not similar to that of an earlier row that stays. The column `count` says how many rows
    each stands for."""

    def __init__(self, source: SourceRows, similarity: float, look: Callable[[], None]) -> None:
        """`similarity` is the least cosine of two vectors that are alike; `look` is called for each row, and raises
        when work has to end. Raises ValueError for more rows than can be compared."""
        if len(source.values) > MOST_COMPARED:
            raise ValueError(
                f"the list has {len(source.values):,} rows, and {MOST_COMPARED:,} can be compared by their vectors at "
                "most; leave out what is equal before, with `distinct` by an expression"
            )
        super().__init__(source)
        self._least, self._look = similarity - _ROUNDING, look

    def result(self, outcomes: Sequence[Outcome]) -> ResultRows:
        """See `Plan`: a row that has no vector does not stay. Raises ValueError for vectors of several lengths."""
        stay: list[int] = []
        counts: list[int] = []
        kept: _KeptVectors | None = None
        directions = self._directions(outcomes)
        while block := list(islice(directions, _BLOCK)):
            for index, vector in block:
                if kept is None:
                    kept = _kept_vectors(len(vector))
                elif kept.dimensions != len(vector):
                    raise ValueError(
                        f"the vectors of rows have {kept.dimensions} and {len(vector)} numbers (row {index}); they are "
                        "of different models"
                    )
            assert kept is not None
            numbers = kept.sort_in([vector for _, vector in block], self._least, self._look)
            for (index, _), number in zip(block, numbers, strict=True):
                if number == len(stay):
                    stay.append(index)
                    counts.append(0)
                counts[number] += 1
        return selected(self.source, stay, count=counts)

    def expected_result(self) -> ResultRows:
        """See `Plan`: all stay."""
        rows = range(len(self.source.values))
        return selected(self.source, rows, count=[1 for _ in rows])

    def _directions(self, outcomes: Sequence[Outcome]) -> Iterator[tuple[int, array[float]]]:
        """The vectors of the rows that have one, with length 1."""
        for index, outcome in enumerate(outcomes):
            if outcome["ok"]:
                vector = outcome["output"]
                length = math.hypot(*vector) or 1.0
                yield index, array("f", [value / length for value in vector])


class _KeptVectors(Protocol):
    """The vectors of the rows that stay, by number."""

    dimensions: int

    def sort_in(self, vectors: Sequence[array[float]], least: float, look: Callable[[], None]) -> list[int]:
        """For each of some vectors the number of the first that is at least that similar, which may be its own: then it
        is kept from now on."""


def _kept_vectors(dimensions: int) -> _KeptVectors:
    """With numpy where it is installed: hundreds of times as fast."""
    if importlib.util.find_spec("numpy") is not None:
        return _NumpyVectors(dimensions)
    return _ListedVectors(dimensions)


class _ListedVectors:
    """Vectors one by one."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._vectors: list[array[float]] = []

    def sort_in(self, vectors: Sequence[array[float]], least: float, look: Callable[[], None]) -> list[int]:
        numbers = []
        for vector in vectors:
            number = self._find(vector, least, look)
            if number == len(self._vectors):
                self._vectors.append(vector)
            numbers.append(number)
        return numbers

    def _find(self, vector: array[float], least: float, look: Callable[[], None]) -> int:
        for number, other in enumerate(self._vectors):
            look()
            if sum(map(mul, vector, other)) >= least:
                return number
        return len(self._vectors)


class _NumpyVectors:
    """Vectors as the rows of a matrix, which a block of others is multiplied with at once."""

    def __init__(self, dimensions: int) -> None:
        import numpy

        self.dimensions = dimensions
        self._numpy = numpy
        self._matrix: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
        self._matrix = numpy.empty((_BLOCK, dimensions), dtype=numpy.float32)
        self._count = 0

    def sort_in(self, vectors: Sequence[array[float]], least: float, look: Callable[[], None]) -> list[int]:
        numpy = self._numpy
        block = numpy.array(vectors, dtype=numpy.float32)
        before = self._matrix[: self._count] @ block.T >= least
        found, first = before.any(axis=0), before.argmax(axis=0) if self._count else None
        among = block @ block.T >= least
        new: list[int] = []  # vectors of the block that are kept
        numbers = []
        for n in range(len(vectors)):
            look()
            if first is not None and found[n]:
                numbers.append(int(first[n]))
                continue
            place = next((place for place, other in enumerate(new) if among[other, n]), len(new))
            if place == len(new):
                new.append(n)
            numbers.append(self._count + place)
        self._keep(block[new])
        return numbers

    def _keep(self, block: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        count = self._count + len(block)
        if count > len(self._matrix):
            more = self._numpy.empty(
                (max(_BLOCK, self._count // 2), self.dimensions), dtype=self._numpy.float32
            )
            self._matrix = self._numpy.concatenate((self._matrix, more))
        self._matrix[self._count : count] = block
        self._count = count
