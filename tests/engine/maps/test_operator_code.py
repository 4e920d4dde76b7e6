"""The expressions of operators, applied to rows."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.engine.base.interrupts import Drained
from po_jupyter.engine.maps.operator_code import OperatorCode, source_rows
from po_jupyter.engine.prompts.row_origins import OriginRows, RowOrigin
from po_jupyter.errors import TemplateFailed
from po_jupyter.model.pipeline.task import Task

ROWS = [{"n": 3, "t": "a b"}, {"n": None, "t": "A  B"}, {"n": 5, "t": "c"}]
SELF = {"to": "{{ seed.rows }}"}


def code(checkpoint: Any = lambda: None, **fields: Any) -> OperatorCode:
    task = Task.model_validate({"name": "t", "for_each": "{{ seed.rows }}", **fields})
    return OperatorCode(task, {"seed": {"rows": ROWS}}, checkpoint)


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"where": "{{ item.n }}"}, [0, 2]),
        ({"where": "{{ index and seed.rows | length == 3 }}"}, [1, 2]),
        ({"distinct": "{{ item.t }}"}, [0, 2]),
        ({"unnest": "{{ item.t.split() }}"}, [0, 0, 1, 1, 2]),
        ({"group_by": "{{ item.n is none }}"}, [[0, 2], [1]]),
        ({"top_k": {"k": 2, "by": "{{ item.n }}"}}, [2, 0]),
        ({"join": {"to": "{{ seed.rows }}", "key": "{{ item.n }}"}}, [0, 2]),
        ({"join": {**SELF, "left_key": "{{ item.n }}", "right_key": "{{ item.n + 2 if item.n else 0 }}"}}, [2]),
        ({"join": {"to": "{{ seed.rows }}", "where": "{{ item.left.t == 'c' }}"}}, [2, 2, 2]),
    ],
)  # fmt: skip
def test_rows_say_where_they_are(fields: Any, places: list[Any]) -> None:
    assert code(**fields).rows(source_rows(ROWS, None)).places == places


def test_the_first_rows_of_a_limit_keep_their_places() -> None:
    source = source_rows(OriginRows(ROWS, RowOrigin("rows", [7, 8, 9])), 2)
    assert code(where="{{ true }}").rows(source).places == [7, 8]


def test_an_error_names_the_row() -> None:
    with pytest.raises(TemplateFailed, match=r"where: null has no 'x' \(row 1\)"):
        code(where="{{ index == 0 or item.n.x }}").rows(source_rows(ROWS, None))
    with pytest.raises(
        TemplateFailed, match=r"task 't': top_k: the value of row 0 is \[\], and a number is needed"
    ):
        code(top_k={"k": 1, "by": "{{ [] }}"}).rows(source_rows(ROWS, None))


def test_a_stop_ends_it_on_its_way() -> None:
    def stop() -> None:
        raise Drained

    with pytest.raises(Drained):
        code(stop, where="{{ true }}").rows(source_rows([1] * 1000, None))


TAGS = [{"tags": ["a", "b"]}, {"tags": ["c"]}, {"tags": []}]


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ({"where": "{{ item.tags | select('eq', 'a') }}"}, [TAGS[0]]),
        ({"distinct": "{{ item.tags | map('length') }}"}, TAGS),
        ({"unnest": "{{ item.tags | map('upper') }}"}, ["A", "B", "C"]),
        ({"unnest": "{{ item.items() }}"}, [["tags", row["tags"]] for row in TAGS]),
    ],
)
def test_what_can_only_be_gone_through_is_a_list(fields: Any, values: list[Any]) -> None:
    """Jinja's `select` and `map` give generators, which are true whatever is in them."""
    assert code(**fields).rows(source_rows(TAGS, None)).values == values


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"group_by": "{{ item.n * 1e308 * 10 if index else 1 }}"}, "row 1.key: inf"),
        ({"unnest": "{{ [1, 1e308 * 10] }}"}, "row 1: inf"),
        ({"unnest": "{{ [item.keys] }}"}, "row 0: builtin_function_or_method"),
    ],
)
def test_rows_that_cannot_be_kept_are_an_error_of_the_task(fields: Any, place: str) -> None:
    """The checkpoint refused them, and the run's worker died of that three times."""
    with pytest.raises(TemplateFailed, match=rf"{place} is not"):
        code(**fields).rows(source_rows([{"n": 1}, {"n": 2}], None))


def test_such_rows_are_refused_before_anything_is_paid() -> None:
    infinite = source_rows([float("inf")], None)
    grouping = code(group_by="{{ item * 1e308 * 10 }}", prompt="{{ item }}")
    with pytest.raises(TemplateFailed, match="group_by: key 0: inf"):
        grouping.plan(source_rows([1], None), lambda item, combine: True)
    asking = code(for_each="{{ [1e308 * 10] }}", where="yes", prompt="{{ item }}")
    with pytest.raises(TemplateFailed, match="where: row 0: inf"):
        asking.plan(infinite, lambda item, combine: True)
