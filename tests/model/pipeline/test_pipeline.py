"""The definition of a pipeline as a value that Python builds."""

from __future__ import annotations

import pytest

from po_jupyter.model.pipeline.parsing import parse_pipeline
from po_jupyter.model.pipeline.pipeline import LLM, Pipeline, Task


def test_tasks_know_what_comes_before_them_and_names_that_are_none_are_errors() -> None:
    tasks = (Task(name="a"), Task(name="b"), Task(name="c", needs=()), Task(name="d", needs=("b", "c")))
    pipeline = Pipeline(name="p", tasks=tasks)
    assert [pipeline.needs_of(name) for name in "abcd"] == [(), ("a",), (), ("b", "c")]
    assert [pipeline.upstream_of(name) for name in "abcd"] == [set(), {"a"}, set(), {"a", "b", "c"}]
    assert pipeline.task("c") is tasks[2]
    for lookup in (pipeline.task, pipeline.needs_of):
        with pytest.raises(KeyError):
            lookup("e")


def test_a_task_overrides_its_pipeline() -> None:
    base = LLM(model="openai:a", temperature=0.0, max_tokens=10)
    task = Task(name="a", prompt="x", llm=LLM(temperature=1.0))
    pipeline = Pipeline(name="p", tasks=(task,), llm=base)
    assert pipeline.llm_of(task) == LLM(model="openai:a", temperature=1.0, max_tokens=10)
    assert pipeline.llm_of(Task(name="b", prompt="x")) == base


def test_other_content_is_another_revision() -> None:
    """DESIGN section 7, Identity."""
    a = parse_pipeline("name: a\ntasks: [{name: t, prompt: x}]")
    b = parse_pipeline("name: a\ntasks: [{name: t, prompt: y}]")
    assert a.version == b.version
    assert a.revision != b.revision
