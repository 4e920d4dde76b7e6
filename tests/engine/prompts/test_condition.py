"""Conditions of a cascade: sandboxed, over the answer, the row and the seed."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.engine.prompts.condition import Condition, Expression
from po_jupyter.engine.prompts.template_check import check_templates
from po_jupyter.errors import InvalidPipeline, TemplateFailed
from po_jupyter.model.pipeline.parsing import parse_pipeline, validate_pipeline
from po_jupyter.orchestrator.examination.operations import examine_here

FIELDS = {"type": "object", "properties": {"label": {}, "confidence": {"type": "number"}}}


def condition(text: str) -> Condition:
    return Condition(text, task="t", field="llm[1].when")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ output.confidence < 0.8 }}", True),
        ("{{ output.confidence > 0.8 }}", False),
        ("{{ output.confidence is none }}", True),
        ("{{ output.confidence is none or output.confidence < 0.8 }}", True),
        ("{{ item.output.confidence < 0.8 and 1 - output.confidence }}", 1.0),
        ("{{ output.confidence }}", None),
    ],
)
def test_a_confidence_that_is_not_known_counts_as_unsure(text: str, value: Any) -> None:
    """It was an error of the row: '<' not supported between None and float."""
    names = {"output": {"confidence": None}, "item": {"output": {"confidence": None}}}
    assert Expression(text, task="t", field="where").value(names) == value
    with pytest.raises(TemplateFailed):
        Expression("{{ output.score < 1 }}", task="t", field="where").value({"output": {"score": None}})


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("{{ output.confidence < 0.8 }}", True),
        ("output.confidence > item.least", False),
        ("{{ output.label in seed.hard }}", True),
        ("{{ output.tags }}", False),
        ("{{ output.note is not defined }}", True),
    ],
)
def test_it_sees_the_answer_the_row_and_the_seed(text: str, holds: bool) -> None:
    names = {
        "output": {"confidence": 0.5, "label": "bug", "tags": []}, "item": {"least": 0.7}, "seed": {"hard": ["bug"]},
        "tasks": {"secret": 1},
    }  # fmt: skip
    assert condition(text).holds(names) is holds


@pytest.mark.parametrize(
    "text",
    [
        "{{ output.confidense < 1 }}",
        "{{ output.confidence < 'a' }}",
        "{{ tasks.secret }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ range(10 ** 9) | list }}",
    ],
)
def test_what_has_no_value_fails_with_its_place(text: str) -> None:
    """P6: it reaches nothing but its names, and does not go on for ever."""
    with pytest.raises(TemplateFailed, match=r"llm\[1\]\.when"):
        condition(text).holds({"output": {"confidence": 0.5}, "tasks": {"secret": 1}})


def found(when: str, **more: Any) -> list[str]:
    task = {"name": "t", "prompt": "x", "output": FIELDS, "for_each": "{{ seed.rows }}", **more}
    task["llm"] = ["fake:a", {"model": "fake:b", "when": when}]
    pipeline = validate_pipeline({"name": "p", "tasks": [{"name": "other", "prompt": "x"}, task]})
    return [f"{v.where}: {v.message}" for v in check_templates(pipeline, {"rows": [{"text": "a"}]})]


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("{{ output.confidense < 0.8 }}", "did you mean `confidence`?"),
        ("{{ outptu.confidence }}", "did you mean `output`?"),
        ("{{ tasks.other }}", "`tasks` is not defined"),
        ("{{ item.txt }}", "did you mean `text`?"),
        ("{{ output.confidence < }}", "does not parse"),
        ("sure: {{ output.confidence }}", "is one expression"),
        ("{{ output.confidence | nofilter }}", "nofilter"),
    ],
)
def test_a_wrong_one_is_refused_before_the_run(when: str, message: str) -> None:
    (problem,) = found(when)
    assert problem.startswith("tasks[1].llm[1].when: task 't': ")
    assert message in problem


@pytest.mark.parametrize(
    "when", ["{{ output.confidence < 0.8 }}", "output.label == item.text", "{{ output.x is defined }}"]
)
def test_a_right_one_is_left_alone(when: str) -> None:
    assert found(when) == []


def test_an_answer_without_a_schema_is_a_text() -> None:
    assert "`output` is text" in found("{{ output.confidence < 1 }}", output=None)[0]
    assert found("{{ 'unsure' in output }}", output=None) == []


def test_a_wrong_one_has_the_line_of_its_cell() -> None:
    text = (
        "name: p\ntasks:\n  - name: t\n    prompt: x\n    output: {type: object, properties: {sure: {}}}\n"
        "    llm:\n      - fake:a\n      - model: fake:b\n        when: '{{ output.sur < 1 }}'\n"
    )
    parse_pipeline(text)
    with pytest.raises(InvalidPipeline) as caught:
        examine_here({"what": "check", "definition": text})
    assert [violation.line for violation in caught.value.violations] == [9]


def test_what_selects_nothing_does_not_hold() -> None:
    """A generator of Jinja is true, whatever is in it."""
    sure = condition("{{ item.tags | select('eq', 'a') }}")
    assert sure.holds({"output": None, "item": {"tags": ["a"]}})
    assert not sure.holds({"output": None, "item": {"tags": ["b"]}})


def test_a_comparison_with_null_says_what_to_write() -> None:
    with pytest.raises(TemplateFailed, match="'NoneType' and 'int'") as caught:
        Expression("{{ item.n > 3 }}", task="t", field="where").value({"item": {"n": None}})
    assert caught.value.hint.startswith("What is missing is null")
