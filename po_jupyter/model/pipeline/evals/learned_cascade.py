"""A cascade with a `target`: which tasks may have it, and what a row of its sample says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from po_jupyter.model.pipeline.evals.confidence import CONFIDENCE
from po_jupyter.model.pipeline.llm_settings import CascadeStep
from po_jupyter.model.pipeline.violations import did_you_mean

_TAIL = 0.025  # of an interval with a confidence of 0.95


class SampledAnswer(TypedDict):
    """A row that both models answered: how sure the first one was (None: not known), and whether the second said the
    same."""

    confidence: float | None
    agrees: bool


def learning_step(task: Any) -> CascadeStep | None:
    """The model of a task (`TaskFields`) with a `target`; None where there is none."""
    steps = task.llm if isinstance(task.llm, tuple) else ()
    return next((step for step in steps if step.target is not None), None)


def learned_cascade_problem(task: Any) -> str | None:
    """Why a task (`TaskFields`) cannot have its `target`; None when it can, or has none."""
    variants = [variant for variant in (task.variants or {}).values() if variant is not None]
    if any(learning_step(variant) is not None for variant in variants):
        return "`target` and `variants` do not go together: each variant would learn from rows of its own"
    step = learning_step(task)
    if step is None:
        return None
    if task.for_each is None:
        return "`target` learns from rows; it needs `for_each`"
    for field in (
        task.operator,
        "variants" if variants or task.variants else None,
        "shards" if task.shards else None,
    ):
        if field is not None:
            return f"`target` and `{field}` do not go together: its threshold is one of all rows of one map"
    return _answer_problem(task, step)


def _answer_problem(task: Any, step: CascadeStep) -> str | None:
    """Why nothing can be learned from the answers of a task."""
    fields = (task.output or {}).get("properties") or {}
    if step.on is not None and step.on not in fields:
        return f"`on` of `target` is {step.on!r}, which is not a field of `output`{did_you_mean(step.on, list(fields))}"
    if task.confidence is None and task.votes is None and not _may_be_number(fields.get(CONFIDENCE)):
        return (
            "`target` needs to know how sure an answer is: write `confidence: logprobs`, `votes`, or a field "
            f"`{CONFIDENCE}` of `output` that is a number"
        )
    assert step.target is not None
    best = _TAIL ** (1 / step.sampled)
    if best < step.target:
        return (
            f"a sample of {step.sampled} rows shows an agreement of {best:.3f} at most, whatever the answers; "
            f"`target: {step.target:g}` needs a larger `sample`"
        )
    return None


def _may_be_number(schema: object) -> bool:
    """Whether a value of a schema may be a number; null beside it is a confidence that is not known."""
    if not isinstance(schema, Mapping):
        return False
    kinds = schema.get("type")
    if not {"number", "integer"}.isdisjoint(kinds if isinstance(kinds, list) else [kinds]):
        return True
    ways = schema.get("anyOf") or schema.get("oneOf")
    return isinstance(ways, list) and any(map(_may_be_number, ways))
