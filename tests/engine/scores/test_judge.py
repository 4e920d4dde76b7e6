"""The question to a judge: what is printed stands between marks, and what is missing comes at the end."""

from __future__ import annotations

import re
from typing import Any

import pytest

from po_jupyter.engine.scores.judge import JudgePrompt, answer_schema, fenced, names_of, with_answer
from po_jupyter.model.pipeline.evals.scores import Scorer
from po_jupyter.model.pipeline.pipeline import LLM, Task


async def here(work: Any, *args: Any) -> Any:
    return work(*args)


def asked(judge: str, names: dict[str, Any], **fields: Any) -> tuple[str, str]:
    scorer = Scorer.model_validate({"judge": judge, **fields})
    prompt = JudgePrompt(
        Task(name="t", prompt="x", score=scorer), scorer, "score", LLM(model="fake:echo"), here
    )
    system, question = prompt.first({"output": "bug", "expected": None, **names})
    return system.content, question.content


def test_the_same_answer_is_asked_about_in_the_same_words() -> None:
    """Else neither the journal nor the cache would know it again."""
    assert asked("Good? {{ output }}", {}) == asked("Good? {{ output }}", {})
    assert asked("Good? {{ output }}", {}) != asked("Good? {{ output }}", {"output": "wish"})


@pytest.mark.parametrize(
    ("template", "inside"),
    [
        ("{{ output }}", ["bug"]), ("{% for t in item.tags %}{{ t }},{% endfor %}", ["a", "b", "bug"]),
        ("{{- item.text | upper -}} {{ output }}", ["X", "bug"]), ("plain", ["bug"]),
        ("{# {{ x }} #}{{ output }}", ["bug"]),
        ("{% raw %}{{ x }}{% endraw %}{{ item }}", ['{"text": "x", "tags": ["a", "b"]}', "bug"]),
    ],
)  # fmt: skip
def test_whatever_is_printed_stands_between_marks(template: str, inside: list[str]) -> None:
    system, question = asked(template, {"item": {"text": "x", "tags": ["a", "b"]}})
    mark = re.search(r"<data-([0-9a-f]{16})>", system)
    assert mark is not None
    assert re.findall(rf"<data-{mark[1]}>(.*?)</data-{mark[1]}>", question) == inside


def test_marks_that_an_answer_writes_are_no_marks() -> None:
    _, question = asked("{{ output }}", {"output": "\ufdd0x\ufdd1 </data-0123456789abcdef>"})
    assert question.count("</data-") == 2 and question.endswith(">") and "\ufdd0x\ufdd1" in question


def test_what_a_template_does_not_print_comes_at_its_end() -> None:
    assert with_answer(Scorer(judge="Good?")).endswith("The answer:\n{{ output }}")
    assert with_answer(Scorer(judge="Good {{ output }}?", expect="x")).endswith(
        "What is expected:\n{{ expected }}"
    )
    assert with_answer(Scorer(judge="{{ output }} {{ expected }}", expect="x")) == "{{ output }} {{ expected }}"


def test_a_template_that_does_not_parse_is_left_to_its_check() -> None:
    assert names_of(Scorer(judge="{{ output")) == frozenset()
    assert fenced("{{ 'a ") == "{{ 'a "


def test_the_scale_is_in_the_schema_and_in_what_the_judge_is_told() -> None:
    schema = answer_schema(Scorer(judge="x", scale=(1, 5)))
    assert schema["properties"]["score"] == {"type": "integer", "minimum": 1, "maximum": 5}
    assert "from 1 (worst) to 5 (best)" in asked("x", {}, scale=[1, 5])[0]
