"""The templates and expressions of a task: where each stands, and its text."""

from __future__ import annotations

from collections.abc import Iterator

from po_jupyter.engine.prompts.seed_values import seed_templates
from po_jupyter.model.pipeline.pipeline import CascadeStep, Task

JUDGE_NAMES = ("item", "index", "output", "expected", "seed", "seed_name", "config")
"""The names that the template of a judge sees; `item` and `index` in a map."""


def templates_of(task: Task) -> Iterator[tuple[str, str]]:
    """(field, text) of every template of a task; `for_each`, `when` and `expect` are expressions, not texts."""
    if task.system is not None:
        yield "system", task.system
    if isinstance(task.prompt, str):
        yield "prompt", task.prompt
    for i, turn in enumerate(task.prompt or () if not isinstance(task.prompt, str) else ()):
        yield f"prompt[{i}].content", turn.content
    for i, image in enumerate(task.images):
        yield f"images[{i}]", image
    if task.for_each is not None:
        yield "for_each", task.for_each
    for path, text in seed_templates(task.seed):
        yield f"seed{path}", text
    if task.refine.critique is not None:
        yield "refine.critique", task.refine.critique
    for n, llm in enumerate(task.llms):
        if isinstance(llm, CascadeStep) and llm.when is not None:
            yield f"llm[{n}].when", llm.when
    yield from _templates_of_scores(task)


def _templates_of_scores(task: Task) -> Iterator[tuple[str, str]]:
    for n, scorer in enumerate(task.scorers):
        if scorer.expect is not None:
            yield f"{task.scorer_place(n)}.expect", scorer.expect
        if scorer.judge is not None:
            yield f"{task.scorer_place(n)}.judge", scorer.judge
