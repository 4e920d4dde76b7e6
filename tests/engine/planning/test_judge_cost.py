"""Judges in the estimate: each answer is one more call, of the judge's own model."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.engine.planning.estimate import estimate_run
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.seed import Seed

ROWS = {"rows": [{"text": f"row {n}"} for n in range(10)]}
TASK = {
    "name": "m",
    "prompt": "Label {{ item.text }}",
    "for_each": "{{ seed.rows }}",
    "output": {"enum": ["bug", "wish"]},
}


def estimated(tmp: Any, **task: Any) -> dict[str, Any]:
    pipeline = validate_pipeline(
        {"name": "p", "llm": {"model": "openai:gpt-5-mini"}, "tasks": [{**TASK, **task}]}
    )
    seed = Seed(name="s", data=ROWS)
    return estimate_run(pipeline, seed, seed.data, settings=Settings(data_dir=tmp))


def test_a_judge_is_a_call_for_each_answer(tmp_path: Any) -> None:
    plain = estimated(tmp_path)
    judged = estimated(tmp_path, score={"judge": "Right for {{ item.text }}? {{ output }}", "scale": [1, 5]})
    assert (plain["calls"], judged["calls"]) == (10, 20)
    assert judged["tasks"][0]["calls_max"] == plain["tasks"][0]["calls_max"] + 20
    assert judged["input_tokens"] > plain["input_tokens"] + 10 * 50
    for case in ("expected", "worst"):
        assert judged["cost"][case] > plain["cost"][case]
    assert judged["unknown"] == plain["unknown"]


def test_metrics_cost_nothing(tmp_path: Any) -> None:
    assert estimated(tmp_path, score={"expect": "{{ item.text }}"}) == estimated(tmp_path)


@pytest.mark.parametrize("judge", ["fake:echo", "openai:no-such-model"])
def test_a_judge_of_another_model_has_its_own_price(tmp_path: Any, judge: str) -> None:
    result = estimated(tmp_path, score={"judge": "Good? {{ output }}", "llm": judge})
    known = judge.startswith("fake")
    assert (result["cost"]["worst"] is not None) == known
    assert any(judge in what for what in result["unknown"]) != known
