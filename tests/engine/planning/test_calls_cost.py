"""The cost of the calls of one task in an estimate."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.config import Settings
from po_jupyter.engine.planning.estimate import estimate_run
from po_jupyter.model.pipeline.parsing import validate_pipeline
from po_jupyter.model.run.seed import Seed

ROWS: dict[str, Any] = {"rows": [{"text": "x" * 400}] * 1000}
SURE = {"type": "object", "properties": {"label": {"enum": ["bug"]}, "confidence": {"type": "number"}}}
SMALL, BIG = "openai:gpt-4o-mini", "openai:gpt-4o"
MAP = {"name": "label", "for_each": "{{ seed.rows }}", "prompt": "Label: {{ item.text }}", "output": SURE}


def estimated(fields: dict[str, Any], data: dict[str, Any] = ROWS, **more: Any) -> Any:
    """The estimate of that one map."""
    pipeline = validate_pipeline({"name": "p", "llm": {"max_tokens": 100}, "tasks": [{**MAP, **fields}]})
    seed = Seed(name="s", data=data)
    return estimate_run(pipeline, seed, data, settings=Settings(), **more)["tasks"][0]


def test_the_sample_of_a_cascade_that_learns_is_expected_of_both_models() -> None:
    small, big = (estimated({"llm": {"model": model}})["cost"]["expected"] for model in (SMALL, BIG))
    learns = {"llm": [{"model": SMALL}, {"model": BIG, "target": 0.9, "sample": 250}]}
    found = estimated(learns)
    assert found["calls"] == 1250
    assert found["cost"]["expected"] == pytest.approx(small + big / 4)
    assert found["cost"]["expected"] < found["cost"]["worst"]
    assert estimated(learns, limit=100)["calls"] == 200, "all rows are the sample"
    assert estimated({**learns, "votes": 3})["calls"] == 3750
    assert estimated(learns, model=BIG)["calls"] == 1000, "one model in the place of all"
    nothing = estimated(learns, {"rows": []})
    assert (nothing["calls"], nothing["cost"]["expected"]) == (0, 0.0)
