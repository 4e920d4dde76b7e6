"""Plans of one round."""

from __future__ import annotations

from po_jupyter.engine.operators.plans import ScorePlan, SelectPlan
from po_jupyter.engine.operators.result_rows import SourceRows

FAILED = {"ok": False, "output": None, "error": {}}


def ok(output: object) -> dict[str, object]:
    return {"ok": True, "output": output, "error": None}


def test_rows_whose_answer_is_yes_stay() -> None:
    plan = SelectPlan(SourceRows(["a", "b", "c"], "rows"), lambda item, output, index: output, {"n": [1, 2, 3]})
    assert list(plan.next_items([])) == ["a", "b", "c"]
    outcomes = [ok(True), FAILED, ok(False)]
    assert plan.next_items(outcomes) == []
    result = plan.result(outcomes)
    assert (result.values, result.places, result.columns) == (["a"], [0], {"n": [1]})
    assert plan.expected_result().values == ["a", "b", "c"]


def test_rows_with_the_best_scores_stay_in_their_order() -> None:
    plan = ScorePlan(SourceRows(["a", "b", "c", "d"]), 2, lambda item, output, index: output)
    result = plan.result([ok(1), FAILED, ok(3), ok(3)])
    assert (result.values, result.columns) == (["c", "d"], {"rank": [1, 2], "score": [3, 3]})
