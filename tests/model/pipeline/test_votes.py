"""`votes` of a task: its forms, and what does not go together, with the line of each mistake."""

from __future__ import annotations

import json

import pytest

from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.parsing import parse_pipeline
from po_jupyter.model.pipeline.votes import Votes, agreement

TASK = "tasks:\n  - name: a\n    prompt: hi\n"


def test_a_number_is_so_many_votes() -> None:
    task = parse_pipeline(TASK + "    votes: 5\n", name="p").tasks[0]
    assert task.votes == Votes(n=5)
    assert (Votes(n=5).fewest, Votes(n=5, stop_early=True).fewest, Votes(n=5, agree=4).fewest) == (5, 3, 4)


def test_a_definition_with_votes_is_read_back_from_its_json() -> None:
    pipeline = parse_pipeline(TASK + "    votes: {n: 5, agree: 3, stop_early: true}\n", name="p")
    assert parse_pipeline(json.dumps(pipeline.to_json())) == pipeline


def test_a_definition_without_votes_keeps_its_revision() -> None:
    """Old definitions are the same, and so are what is reused by them."""
    assert parse_pipeline(TASK, name="p").to_json()["tasks"] == [{"name": "a", "prompt": "hi"}]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("    votes: 1\n", 4, "greater than or equal to 2"),
        ("    votes: true\n", 4, "needs a mapping"),
        ("    votes:\n      n: 3\n      agre: 2\n", 6, "did you mean `agree`?"),
        ("    votes: {n: 3, agree: 5}\n", 4, "5 of 3 answers cannot agree"),
        ("    votes: {n: 3, agree: 2, stop_early: false}\n", 4, "`stop_early` is false"),
        ("    votes: {n: 3, on: label}\n", 2, "without `output` has no fields"),
        (
            "    output: {type: object, properties: {label: {}}}\n    votes: {n: 3, on: lable}\n",
            2,
            "did you mean `label`?",
        ),
        (
            "    for_each: '{{ seed.rows }}'\n    mode: batch\n    votes: 3\n",
            2,
            "`mode: batch` do not go together",
        ),
    ],
)
def test_a_mistake_has_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(InvalidPipeline) as caught:
        parse_pipeline(TASK + text, name="p")
    (violation,) = caught.value.violations
    assert violation.line == line
    assert message in violation.message


def test_votes_are_for_prompts() -> None:
    with pytest.raises(InvalidPipeline, match="is for prompt tasks"):
        parse_pipeline("tasks:\n  - name: a\n    source: x = 1\n    votes: 3\n", name="p")


def test_a_vote_that_was_not_asked_for_agrees_with_nothing() -> None:
    assert agreement({"agreeing": 2, "asked": 2, "n": 3}) == 2 / 3
