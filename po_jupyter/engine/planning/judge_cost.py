"""The cost of the judges of a task's answers, for its estimate: what one answer costs each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from po_jupyter.engine.planning.planned_model import PlannedModel
from po_jupyter.errors import PoError
from po_jupyter.llm.money.pricing import PriceBook
from po_jupyter.llm.money.tokens import estimate, estimate_messages
from po_jupyter.model.pipeline.evals.scores import Scorer
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.run.usage import Usage
from po_jupyter.model.values.json import JsonValue

_VERDICT = 40  # tokens of a score with its reason
_REASK = 100
_ASKED = 2  # times at most: an answer out of the scale is asked for once more


class JudgeCost(NamedTuple):
    """What one answer costs a judge; dollars None where there is no price."""

    model: str
    calls: int
    calls_max: int
    input_tokens: int
    output_tokens_max: int
    expected: float | None
    worst: float | None


def judge_costs(
    task: Task,
    names: Mapping[str, JsonValue],
    outputs: Mapping[str, Any],
    model_of: Callable[[Scorer], PlannedModel],
    prices: PriceBook,
) -> Iterator[JudgeCost]:
    """The cost of each judge; `names` are what the task's templates see, `outputs` have a sample of its answer."""
    for number, scorer in enumerate(task.scorers):
        if scorer.judge is None:
            continue
        planned = model_of(scorer)
        tokens = _question_tokens(task, number, names, outputs)
        again = tokens + planned.most_tokens + _REASK
        most = Usage(input_tokens=tokens + again, output_tokens=_ASKED * planned.most_tokens)
        yield JudgeCost(
            planned.model, 1, _ASKED, tokens, _ASKED * planned.most_tokens,
            planned.cost(Usage(input_tokens=tokens, output_tokens=_VERDICT), prices),
            planned.cost(most, prices, worst=True),
        )  # fmt: skip


def _question_tokens(
    task: Task, number: int, names: Mapping[str, JsonValue], outputs: Mapping[str, Any]
) -> int:
    """Tokens of the question about one answer: with the first row and a sample of the answer, else of the template."""
    from po_jupyter.engine.scores.judge import JudgePrompt, answer_schema  # few tasks have one

    scorer = task.scorers[number]
    schema = estimate(str(answer_schema(scorer)))
    judge = JudgePrompt(task, scorer, task.scorer_place(number), scorer.llm, _here)
    sample = outputs.get(task.name)
    if task.for_each is not None and isinstance(sample, list):
        sample = sample[0]["output"] if sample else None
    rows = _rows(task, names)
    seen = {**names, "output": sample, "expected": None, **({"item": rows[0], "index": 0} if rows else {})}
    try:
        return estimate_messages([message.content for message in judge.first(seen)]) + schema
    except PoError:
        return estimate_messages([scorer.judge or "", str(sample)]) + schema


def _rows(task: Task, names: Mapping[str, JsonValue]) -> Any:
    from po_jupyter.engine.prompts.templates import RowsExpression

    try:
        return RowsExpression(task.for_each, task=task.name).evaluate(names)[:1] if task.for_each else []
    except PoError:
        return []


async def _here(work: Any, *args: Any) -> Any:
    return work(*args)
