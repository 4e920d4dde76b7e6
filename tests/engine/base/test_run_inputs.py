"""The inputs of a run: which model a judge is asked of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import inputs_of


@pytest.mark.parametrize(
    ("pipeline", "task", "judge", "options", "model"),
    [
        ("fake:p", "fake:t", "fake:j", {}, "fake:j"), ("fake:p", "fake:t", None, {}, "fake:p"),
        (None, "fake:t", None, {}, "fake:t"), (None, None, None, {}, "local:smollm2-135m"),
        ("fake:p", "fake:t", "fake:j", {"model": "fake:o"}, "fake:o"),
    ],
)  # fmt: skip
def test_a_judges_model_is_the_runs_its_own_the_pipelines_or_the_tasks(
    tmp_path: Path, pipeline: str | None, task: str | None, judge: str | None, options: Any, model: str
) -> None:
    scorer = {"judge": "good?", **({"llm": {"model": judge, "max_tokens": 9}} if judge else {})}
    named = {"name": "t", "prompt": "x", "score": scorer, **({"llm": task} if task else {})}
    llm = {"temperature": 0, **({"model": pipeline} if pipeline else {})}
    inputs = inputs_of(tmp_path, [named], llm=llm, options=options)
    only = inputs.pipeline.tasks[0]
    asked = inputs.judge_llm(only, only.scorers[0])
    assert (asked.model, asked.temperature, asked.max_tokens) == (model, 0, 9 if judge else None)
