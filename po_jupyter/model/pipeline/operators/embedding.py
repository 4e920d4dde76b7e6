"""Embeddings: a task that makes a vector of a text, and what goes together with it."""

from __future__ import annotations

from typing import Any

from po_jupyter.model.pipeline.operators.fields import Similar

# What a prompt, Python or another pipeline has; a vector is made of one text, and is what it is.
_NOT_BESIDE = (
    "prompt", "system", "images", "tools", "output", "output_type", "refine", "votes", "variants", "score", "source",
    "task", "pipeline", "mode",
)  # fmt: skip
# Settings of `llm` that a request for a vector does not have. A pipeline's own are for its other tasks.
_OF_ANSWERS = (
    "temperature",
    "max_tokens",
    "max_thinking_tokens",
    "api",
    "stop",
    "seed",
    "effort",
    "service_tier",
)


def embedding_problem(task: Any) -> str | None:
    """Why a task (`TaskFields`) cannot have its `embed`; None when it can, or has none."""
    if task.embed is None:
        return None
    fields = type(task).model_fields
    for name in _NOT_BESIDE:
        if getattr(task, name) != fields[name].get_default(call_default_factory=True):
            return f" has `embed` and `{name}`; a vector is made of a text alone"
    if (
        setting := next((name for name in _OF_ANSWERS if getattr(task.llm, name, None) is not None), None)
    ) is not None:
        return f" has `embed` and `llm.{setting}`, which is of answers and changes no vector; leave it out"
    if isinstance(task.llm, tuple):
        return ": a list of models is for answers; vectors of two models have nothing in common"
    if task.distinct is not None and not isinstance(task.distinct, Similar):
        return ": with `embed` rows are distinct by their vectors: distinct: {similarity: 0.9}"
    if task.operator not in (None, "distinct"):
        return f": `{task.operator}` does not go by vectors; only `distinct` does"
    return None
