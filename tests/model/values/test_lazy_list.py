"""Lists whose values are read when they are looked at."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.model.values.lazy_list import LazyList


class Squares(LazyList):
    def __init__(self, size: int) -> None:
        self.size = size
        self.reads: list[int] = []

    def __len__(self) -> int:
        return self.size

    def read(self, index: int) -> Any:
        self.reads.append(index)
        return index * index


def test_it_is_a_list_in_all_but_type() -> None:
    values = Squares(4)
    assert values == [0, 1, 4, 9]
    assert (values[-1], values[1:3], values[::-1]) == (9, [1, 4], [9, 4, 1, 0])
    more = [7]
    assert values + more == [0, 1, 4, 9, 7]
    assert more + values == [7, 0, 1, 4, 9]
    assert values != [0, 1]
    assert values != "0149"
    assert 4 in values
    with pytest.raises(IndexError):
        values[4]
    with pytest.raises(TypeError):
        hash(values)


def test_only_what_is_looked_at_is_read() -> None:
    values = Squares(1_000_000)
    assert repr(values) == "<1000000 rows>"
    assert values[5] == 25
    assert values.reads == [5]
