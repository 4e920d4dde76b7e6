"""A `#` outside of quotes cuts a text off in YAML: said, instead of asking half a question."""

from __future__ import annotations

import pytest

from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.parsing import parse_pipeline


@pytest.mark.parametrize(
    ("task", "where", "line", "column"),
    [
        ("prompt: Label this #1 ticket", "tasks[0].prompt", 4, 24),
        ("prompt: #12 is the ticket", "tasks[0].prompt", 4, 13),
        ("{prompt: Which is # 1\n     }", "tasks[0].prompt", 4, 0),
        ("prompt: x\n    system: In C# and item #4", "tasks[0].system", 5, 28),
        (
            "prompt:\n    - {role: user, content: x}\n    - role: user\n      content: Ticket #1",
            "tasks[0].prompt[1].content",
            7,
            23,
        ),
        ("prompt: x\n    refine:\n      critique: Is it #1?", "tasks[0].refine.critique", 6, 23),
    ],
)
def test_a_text_that_a_comment_cuts_off_is_refused(task: str, where: str, line: int, column: int) -> None:
    head = "name: p\ntasks:\n  - name: t\n    "
    if task.startswith("{"):
        head, task = "name: p\ntasks:\n\n  - ", task.replace("{", "{name: t, ")
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline(head + task + "\n")
    (violation,) = caught.value.violations
    assert (violation.where, violation.line) == (where, line)
    assert not column or violation.column == column
    assert "`#`" in violation.message and "quotes" in violation.message


@pytest.mark.parametrize(
    "task",
    [
        'prompt: "Label this #1 ticket"  # a comment',
        "prompt: |\n      Label this #1 ticket\n    # a comment",
        "prompt: Label C#1 and http://x/#y\n    # a comment",
        "prompt: x\n    max_concurrency: 16  # rows",
        "prompt: x\n    llm: {model: openai:gpt-5-mini}  # cheap",
        "prompt: x\n    config:\n      prompt: y  # of the config",
        "prompt: x\n    for_each: seed.rows  # the rows",
        "prompt: >-\n      one\n      two #3",
    ],
)
def test_comments_elsewhere_are_comments(task: str) -> None:
    parse_pipeline(f"name: p\ntasks:\n  - name: t  # the first\n    {task}\n")
