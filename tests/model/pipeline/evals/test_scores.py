"""`score` of a task: its forms, its columns, and what does not go together, with the line of each mistake."""

from __future__ import annotations

import json

import pytest

from po_jupyter.errors import InvalidPipeline
from po_jupyter.model.pipeline.evals.scores import JUDGE_TOKENS, Scorer, judge_llm, score_columns
from po_jupyter.model.pipeline.llm_settings import LLM
from po_jupyter.model.pipeline.parsing import parse_pipeline

TASK = "tasks:\n  - name: a\n    prompt: hi\n"


def columns(text: str) -> list[tuple[str, str]]:
    return [(c.name, c.metric) for c in score_columns(parse_pipeline(TASK + text, name="p").tasks[0].scorers)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('    score: "{{ seed.gold }}"\n', [("exact", "exact")]),
        ("    score: {expect: seed.gold, metrics: [exact, f1]}\n", [("exact", "exact"), ("f1", "f1")]),
        ("    score: {expect: seed.gold, metrics: f1, name: words}\n", [("words", "f1")]),
        (
            "    score: {expect: seed.x, metrics: [f1, exact], name: w}\n",
            [("w_f1", "f1"), ("w_exact", "exact")],
        ),
        ("    score: [{judge: good?}, {judge: nice?, name: nice}]\n", [("judge", "judge"), ("nice", "judge")]),
        ("    score: {metrics: [value, my.scorer]}\n", [("value", "value"), ("my.scorer", "my.scorer")]),
        ("    score: {metrics: regex, pattern: '^a'}\n", [("regex", "regex")]),
    ],
)
def test_scores_and_what_they_are_called(text: str, names: list[tuple[str, str]]) -> None:
    assert columns(text) == names
    pipeline = parse_pipeline(TASK + text, name="p")
    assert parse_pipeline(json.dumps(pipeline.to_json())) == pipeline


def test_a_definition_without_a_score_keeps_its_revision() -> None:
    assert parse_pipeline(TASK, name="p").to_json()["tasks"] == [{"name": "a", "prompt": "hi"}]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("    score: {metrics: f1}\n", 4, "`f1` needs `expect`"),
        ("    score: 5\n", 4, "needs a mapping"),
        ("    score:\n      expct: x\n", 5, "did you mean `expect`?"),
        ("    score:\n      - {judge: x, scale: [5, 1]}\n", 5, "write the lower number first"),
        ("    score: {judge: x, scale: [0.5, 1]}\n", 4, "scale"),
        ("    score: {judge: x, metrics: f1, expect: y}\n", 4, "`metrics` or a `judge`"),
        ("    score: {expect: x, scale: [1, 5]}\n", 4, "those of a `judge`"),
        ("    score: {expect: x, tolerance: 1}\n", 4, "`tolerance` and `relative` are those of the metric `number`"),
        ("    score: {expect: x, pattern: a}\n", 4, "`pattern` is that of the metric `regex`"),
        ("    score: {metrics: regex, pattern: '('}\n", 4, "cannot be used"),
        ("    score: {expect: x, metrics: [f1, f1]}\n", 4, "stands twice"),
        ("    score: [{expect: x}, {expect: y}]\n", 2, "two scores are called 'exact'"),
        ("    score: {expect: x, on: label}\n", 2, "has no fields"),
        ("    output: {properties: {label: {}}}\n    score: {expect: x, on: lable}\n", 2, "did you mean `label`?"),
        ("    for_each: seed.rows\n    mode: batch\n    score: {judge: good?}\n", 2, "judge the answers afterwards"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_said_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(InvalidPipeline) as error:
        parse_pipeline(TASK + text, name="p")
    (violation,) = error.value.violations
    assert violation.line == line and message in violation.message


@pytest.mark.parametrize(
    ("own", "of_pipeline", "tokens"),
    [(None, 40, JUDGE_TOKENS), (None, 500, 500), (None, None, None), (30, 40, 30)],
)
def test_a_limit_for_short_answers_leaves_a_judge_room_for_its_reason(
    own: int | None, of_pipeline: int | None, tokens: int | None
) -> None:
    judge = Scorer(judge="Is it good?", llm=LLM(max_tokens=own))
    settings = judge_llm(judge, LLM(model="openai:gpt-5-mini", max_tokens=of_pipeline))
    assert (settings.model, settings.max_tokens) == ("openai:gpt-5-mini", tokens)
