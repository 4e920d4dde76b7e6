"""The cost of a run over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from po_jupyter.orchestrator.views.inspection.spending import MOST_POINTS, Spending
from tests.support.engine import RUN
from tests.support.run_page import fruit_page


async def test_the_spending_is_by_task_and_model_and_over_time(tmp_path: Path) -> None:
    page = await fruit_page(tmp_path)
    spending = await page.inspection.spending(RUN, "me")
    assert spending["total"]["calls"] == 3
    assert spending["by_task"]["label"] == spending["total"]
    assert list(spending["by_model"]) == ["fake:echo"]
    tokens = [point[2] for point in spending["points"]]
    assert tokens == sorted(tokens)
    assert tokens[-1] == spending["total"]["tokens"]


def test_the_curve_of_a_long_run_is_bounded_and_ends_with_the_newest_point() -> None:
    spending = Spending()
    for i in range(5000):
        key = f"a/-/1/0/inference/{i:032x}/0"
        answer: Any = {
            "key": key,
            "kind": "response",
            "ok": True,
            "response": {"usage": {"output_tokens": 1, "cost": None}},
        }
        spending.apply(
            {"n": i + 1, "at": f"t{i}", "fence": 1, "first": 1, "events": [], "items": [], "calls": [answer]}
        )
    assert len(spending.points) <= MOST_POINTS + 1
    assert spending.points[-1] == ("t4999", 0.0, 5000)
    assert spending.total["unpriced"] == 5000
