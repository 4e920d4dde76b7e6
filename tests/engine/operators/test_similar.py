"""`distinct` by vectors: a plain loop over all earlier rows is the judge."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_jupyter.engine.operators import similar
from po_jupyter.engine.operators.result_rows import SourceRows
from po_jupyter.engine.operators.similar import MOST_COMPARED, SimilarPlan

Vectors = list[list[float]]
ANGLES = st.lists(st.integers(0, 359), max_size=30)


def ok(output: Any) -> dict[str, Any]:
    return {"ok": True, "output": output, "error": None}


FAILED = {"ok": False, "output": None, "error": {}}


def distinct(vectors: Vectors, least: float = 0.9, look: Callable[[], None] = lambda: None) -> Any:
    plan = SimilarPlan(SourceRows([f"r{n}" for n in range(len(vectors))], "rows"), least, look)
    assert not plan.in_rounds and len(list(plan.next_items([]))) == len(vectors)
    return plan.result([ok(vector) for vector in vectors])


@pytest.fixture(params=["with numpy", "without"], autouse=True)
def _numpy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "without":
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_the_first_of_similar_rows_stays_and_says_how_many_it_stands_for() -> None:
    found = distinct([[1, 0], [0, 2], [10, 1], [0, 1], [-1, 0]])
    assert (found.values, found.places) == (["r0", "r1", "r4"], [0, 1, 4])
    assert found.columns["count"] == [2, 2, 1]


def test_equal_vectors_are_the_same_at_a_similarity_of_one() -> None:
    vector = [math.sin(n) for n in range(1536)]
    assert distinct([vector, [2 * v for v in vector], vector[::-1]], 1.0).columns["count"] == [2, 1]


def test_a_row_is_compared_with_those_that_stay_and_with_no_other() -> None:
    """Three in a chain: the last is like the second, which is not there any more."""
    turned = [[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in (0, 20, 40)]
    assert distinct(turned).values == ["r0", "r2"]


def test_a_row_without_a_vector_does_not_stay() -> None:
    plan = SimilarPlan(SourceRows(["a", "b", "c"]), 0.9, lambda: None)
    assert plan.result([ok([1.0]), FAILED, ok([-1.0])]).values == ["a", "c"]
    assert plan.result([FAILED, FAILED, FAILED]).values == []
    assert plan.expected_result().values == ["a", "b", "c"]


def test_vectors_of_two_models_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match=r"2 and 3 numbers \(row 1\)"):
        distinct([[1, 0], [1, 0, 0]])


def test_a_vector_of_zeros_is_like_none() -> None:
    assert distinct([[0, 0], [0, 0], [1, 0]]).columns["count"] == [1, 1, 1]


def test_more_rows_than_can_be_compared_are_found_before_anything_is_asked() -> None:
    with pytest.raises(ValueError, match="20,001 rows"):
        SimilarPlan(SourceRows([0] * (MOST_COMPARED + 1)), 0.9, lambda: None)


def test_the_work_can_be_ended() -> None:
    looked = []
    distinct([[1, 0], [0, 1], [-1, 0]], look=lambda: looked.append(1))
    assert len(looked) >= 2


def test_there_is_room_for_many() -> None:
    size = similar._BLOCK * 2 + 3
    vectors = [[float(n == m) for m in range(size)] for n in range(size)]
    assert distinct([*vectors, vectors[0]], 0.5).columns["count"] == [2] + [1] * (size - 1)


@given(ANGLES, st.integers(1, 89))
def test_it_is_as_a_plain_loop_has_it(angles: list[int], apart: int) -> None:
    kept: list[int] = []
    for n, angle in enumerate(angles):
        turn = [min(abs(angle - angles[k]), 360 - abs(angle - angles[k])) for k in kept]
        if all(a > apart + 0.5 for a in turn):
            kept.append(n)
    vectors = [[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles]
    assert distinct(vectors, math.cos(math.radians(apart + 0.5))).places == kept
