from __future__ import annotations

from po_jupyter.engine.maps.shards.child_run import child_pipeline
from po_jupyter.model.pipeline.parsing import validate_pipeline


def test_a_child_run_has_the_map_and_what_is_before_it() -> None:
    pipeline = validate_pipeline({
        "name": "p", "llm": {"model": "fake:echo"}, "budget": {"usd": 1},
        "tasks": [
            {"name": "a", "prompt": "x"},
            {"name": "aside", "prompt": "x", "needs": []},
            {"name": "b", "prompt": "x", "needs": ["a"]},
            {
                "name": "m", "prompt": "{{ item }}", "for_each": "{{ tasks.b }}", "shards": 3, "gate": "good?",
                "failure_threshold": 0.1, "budget": {"usd": 0.5},
            },
            {"name": "after", "prompt": "x"},
        ],
    })  # fmt: skip
    child = child_pipeline(pipeline, pipeline.task("m"))
    again = validate_pipeline(child.to_json(), recorded=True)
    assert [task.name for task in again.tasks] == ["a", "b", "m"]
    assert again.upstream_of("m") == {"a", "b"}
    alone = again.task("m")
    assert (alone.shards, alone.gate, alone.failure_threshold, alone.budget.usd) == (None, None, 1.0, None)
    assert again.budget.usd is None
    assert again.model_of(alone) if hasattr(again, "model_of") else again.llm_of(alone).model == "fake:echo"
