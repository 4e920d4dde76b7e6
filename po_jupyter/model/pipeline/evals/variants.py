"""Variants of a map: prompts or models beside each other, each asked about every row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator

from po_jupyter.model.pipeline.evals.scores import Scorer
from po_jupyter.model.pipeline.llm_settings import LLM, ModelChoice
from po_jupyter.model.pipeline.task_parts import PromptText, ends_with_the_user
from po_jupyter.model.pipeline.value import Value

FEWEST, MOST = 2, 8
VariantName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60)]


class Variant(Value):
    """What one variant of a map has in the place of the task's own. Nothing at all: the task as it stands."""

    system: str | None = Field(default=None, description="The system message of this variant, a template.")
    prompt: PromptText | None = Field(
        default=None, description="The prompt of this variant, a template or a list of messages."
    )
    llm: ModelChoice | None = Field(
        default=None, description="Model settings of this variant, over the task's; or a list of models."
    )

    @field_validator("prompt")
    @classmethod
    def _ends_with_the_user(cls, value: Any) -> Any:
        return ends_with_the_user(value)


Variants = Annotated[dict[VariantName, Variant | None], Field(min_length=FEWEST, max_length=MOST)]


def with_first_prompt(data: Any) -> Any:
    """The fields of a task whose variants all have a prompt, with the first of them as its own where it has none."""
    if not isinstance(data, Mapping) or not isinstance(data.get("variants"), Mapping) or data.get("prompt"):
        return data
    prompts = [_prompt_of(variant) for variant in data["variants"].values()]
    return data if not prompts or None in prompts else {**data, "prompt": prompts[0]}


def _prompt_of(variant: Any) -> Any:
    return variant.get("prompt") if isinstance(variant, Mapping) else getattr(variant, "prompt", None)


def variant_fields(task: Any, variant: Variant | None) -> dict[str, Any]:
    """The fields in which the task of a variant differs from the task (`TaskFields`) with the variants."""
    changed: dict[str, Any] = {"variants": None}
    if variant is None:
        return changed
    if variant.system is not None:
        changed["system"] = variant.system
    if variant.prompt is not None:
        changed["prompt"] = variant.prompt
    if variant.llm is not None:
        own, base = variant.llm, task.llm
        changed["llm"] = own.over(base) if isinstance(own, LLM) and isinstance(base, LLM) else own
    return changed


def variant_definition(task: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The definition of a task as its variant of that number has it, both as JSON."""
    changed = dict(list(task["variants"].values())[number] or {})
    own, base = changed.get("llm"), task.get("llm")
    if isinstance(own, Mapping) and isinstance(base, Mapping):
        changed["llm"] = {**base, **own}
    return {**{name: value for name, value in task.items() if name != "variants"}, **changed}


def variants_problem(task: Any) -> str | None:
    """Why a task (`TaskFields`) cannot have its variants; None when it can, or has none."""
    if task.variants is None:
        return None
    if task.prompt is None:
        if task.source is not None or task.task is not None or task.pipeline is not None:
            return ": `variants` are prompts or models beside each other; this task has no `prompt`"
        return " has no `prompt`, and neither has each of its `variants`"
    if task.for_each is None:
        return " has `variants` and no `for_each`: they are asked about each row of a list"
    if task.operator is not None:
        return f": `variants` and `{task.operator}` do not go together: each variant would make rows of its own"
    if task.mode == "batch":
        return ": `variants` and `mode: batch` do not go together: a batch is one prompt and one model for all its rows"
    if task.shards is not None:
        return ": `variants` and `shards` do not go together; a list of so many rows has a run for each variant"
    scorers = task.score if isinstance(task.score, tuple) else () if task.score is None else (task.score,)
    return judge_problem(task, scorers)


def judge_problem(task: Any, scorers: Iterable[Scorer]) -> str | None:
    """Why these scorers cannot judge the variants of a task (`TaskFields`); None when they can, or there are none."""
    changes_model = any(
        variant is not None and variant.llm is not None for variant in (task.variants or {}).values()
    )
    if changes_model and any(s.judge is not None and s.llm.model is None for s in scorers):
        return ": a judge beside variants of `llm` needs its own `llm.model`, so that one model judges them all"
    return None
