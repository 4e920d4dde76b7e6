"""Scoring recorded answers: their metrics, and what judges are to be asked about them. No model is asked here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from po_jupyter.config import Settings
from po_jupyter.errors import PoError
from po_jupyter.model.values.json import JsonObject

if TYPE_CHECKING:
    from po_jupyter.engine.scores.judge import JudgePrompt
    from po_jupyter.engine.scores.row_metrics import RowMetrics
    from po_jupyter.model.pipeline.pipeline import Task
    from po_jupyter.model.run.scores import ExpectedAnswer


def score_rows(
    definition: Mapping[str, Any], seed: JsonObject, owner: str, rows: list[list[Any]], settings: Settings
) -> JsonObject:
    """`{scores, questions}` of `rows`, `[index, item, output]` each.

    `scores` are as `RowScores` without those of judges; `questions` by the name of each judge a list of
    `{system, question}`, or of `{missing}`, why a row is not judged. `definition` has one task, whose scorers
    are meant. Raises TemplateFailed and InvalidInput.
    """
    from po_jupyter.engine.scores.row_metrics import part_of
    from po_jupyter.model.pipeline.evals.scores import JUDGE

    task, metrics, base = _scoring(definition, seed, owner, settings)
    judges = {
        column.name: (column.scorer, _judge(task, column.scorer))
        for column in metrics.columns
        if column.metric == JUDGE
    }
    scores: list[JsonObject] = []
    questions: dict[str, list[JsonObject]] = {name: [] for name in judges}
    for index, item, output in rows:
        names = {**base, "item": item, "index": index}
        scores.append({**metrics.measure(names, output)})
        for name, (number, judge) in judges.items():
            expected = metrics.expected(number, {**names, "output": output})
            if expected.problem:
                questions[name].append({"missing": expected.problem})
                continue
            part = part_of(output, judge.scorer.on)
            try:
                system, question = judge.first({**names, "output": part, "expected": expected.value})
            except PoError as error:
                questions[name].append({"missing": error.message[:300]})
                continue
            questions[name].append({"system": system.content, "question": question.content})
    return {"scores": scores, "questions": questions}


def expected_answers(
    definition: Mapping[str, Any], seed: JsonObject, owner: str, row: list[Any], settings: Settings
) -> JsonObject:
    """`{expected}`: of a `row`, `[index, item, output]`, what each scorer with an expectation says, as
    `ExpectedAnswer`. Raises as `score_rows`."""
    _, metrics, base = _scoring(definition, seed, owner, settings)
    index, item, output = row
    names = {**base, "item": item, "index": index, "output": output}
    expected: list[ExpectedAnswer] = []
    for number, scorer in enumerate(metrics.scorers):
        if scorer.expect is not None:
            scores = [column.name for column in metrics.columns if column.scorer == number]
            value, problem = metrics.expected(number, names)
            expected.append({"scores": scores, "value": value, "problem": problem or None})
    return {"expected": expected}


def _scoring(
    definition: Mapping[str, Any], seed: JsonObject, owner: str, settings: Settings
) -> tuple[Task, RowMetrics, JsonObject]:
    """The one task, its metrics, and what expressions see besides a row."""
    from po_jupyter.engine.prompts.templates import template_names
    from po_jupyter.engine.scores.row_metrics import RowMetrics
    from po_jupyter.model.pipeline.parsing import validate_pipeline
    from po_jupyter.store.files.row_files import RowFiles

    task = validate_pipeline(definition, recorded=True).tasks[0]
    metrics = RowMetrics(task.name, task.scorers, [task.scorer_place(n) for n in range(len(task.scorers))])
    data = RowFiles(settings.data_dir).with_rows(owner, seed.get("data") or {})
    return task, metrics, template_names(seed=data, seed_name=seed.get("name") or "", config=task.config)


def _judge(task: Task, number: int) -> JudgePrompt:
    from po_jupyter.engine.scores.judge import JudgePrompt

    scorer = task.scorers[number]
    return JudgePrompt(task, scorer, task.scorer_place(number), scorer.llm, _here)


async def _here(work: Any, *args: Any) -> Any:
    """Nothing that is rendered here runs off the loop."""
    return work(*args)
