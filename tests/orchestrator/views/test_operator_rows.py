"""The rows of operators as rows of a map."""

from __future__ import annotations

from po_jupyter.engine.operators.result_rows import ResultRows
from po_jupyter.orchestrator.views.operator_rows import operator_page


def test_rows_say_where_they_are_and_what_their_columns_are() -> None:
    rows, following = operator_page(ResultRows(["a", "b", "c"], [5, 3, 1], "rows", {"rank": [1, 2, 3]}), 1, 1)
    assert [(row["index"], row["row"], row["output"], row["columns"]) for row in rows] == [
        (1, 3, "b", {"rank": 2})
    ]
    assert following == 2


def test_a_group_lists_its_rows() -> None:
    answered = {"index": 0, "key": "k", "size": 2, "ok": False, "output": None, "error": {"message": "no"}}
    plain = {"key": None, "rows": ["a", "b"]}
    rows, following = operator_page(ResultRows([answered, plain], [[1, 2], [0, 4]], "rows"), 0, None)
    assert [(row["rows"], row["ok"], row["columns"]) for row in rows] == [
        ([1, 2], False, {"key": "k", "size": 2}), ([0, 4], True, {"key": None, "size": 2}),
    ]  # fmt: skip
    assert following is None
