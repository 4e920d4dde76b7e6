"""The rows of an operator in the checkpoint."""

from __future__ import annotations

from po_jupyter.engine.operators.result_rows import SourceRows, is_result, read_result, selected


def test_rows_come_back_from_the_checkpoint() -> None:
    made = selected(SourceRows(["a", "b"], "rows", [3, 1]), [1], score=[2])
    assert is_result(made.to_json())
    assert read_result(made.to_json()) == made
    assert not is_result({"$rows": []})
    assert not is_result([])
