"""What may stand beside `pipeline` in a task, and what may not."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.parsing import parse_pipeline, validate_pipeline
from po_jupyter.model.pipeline.pipeline import Pipeline
from po_jupyter.model.pipeline.pipeline_field import pipeline_task_problem


def pipeline(name: str, *tasks: dict[str, Any]) -> Pipeline:
    return validate_pipeline({"name": name, "tasks": list(tasks)})


def test_what_goes_along() -> None:
    fields = ("name", "description", "needs", "pipeline", "seed", "gate", "budget", "config")
    assert pipeline_task_problem(fields, runs_pipeline=True) is None
    assert pipeline_task_problem(("name", "prompt"), runs_pipeline=False) is None


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"pipeline": "b", "for_each": "{{ seed.x }}"}, "`for_each` and `pipeline`, which do not go together"),
        ({"pipeline": "b", "prompt": "x"}, "runs a pipeline, and has `prompt`"),
        ({"pipeline": "b", "source": "x = 1", "retry": {}}, "has `retry`, `source`"),
        ({"prompt": "x", "seed": {"a": 1}}, "has `seed` and no `pipeline`"),
        ({"pipeline": {"name": "b", "tasks": []}}, "its pipeline: tasks"),
        ({"pipeline": {"name": "b"}}, "its pipeline: tasks"),
        ({"pipeline": 3}, "pipeline"),
        ({"pipeline": "No Name"}, "pipeline"),
    ],
)
def test_what_does_not_go_together_is_refused(task: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPipeline, match=message):
        pipeline("a", {"name": "t", **task})


def test_the_line_of_a_violation_is_that_of_the_task() -> None:
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline("name: a\ntasks:\n  - name: t\n    pipeline: b\n    tools: [a.b]\n")
    assert caught.value.violations[0].line == 3
