"""The templates and expressions of a task, and what `item` is in each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jinja2 import TemplateSyntaxError, nodes

from po_jupyter.engine.prompts.seed_values import seed_templates
from po_jupyter.engine.prompts.template_samples import (
    MAP_ROW,
    NOT_KNOWN,
    UNKNOWN,
    Samples,
    SampleScope,
)
from po_jupyter.engine.prompts.templates import ENVIRONMENT, expression_of
from po_jupyter.errors import TemplateFailed
from po_jupyter.model.pipeline.evals.variants import Variant
from po_jupyter.model.pipeline.pipeline import LLM, CascadeStep, PromptText, Task

JUDGE_NAMES = ("item", "index", "output", "expected", "seed", "seed_name", "config")
"""The names that the template of a judge sees; `item` and `index` in a map."""
WITHOUT_ITEM = ("for_each", "join.to")
_OF_ANSWERS = ("where", "top_k.by", "join.keep")
_OF_ROWS = frozenset({"where", "distinct", "unnest", "group_by.key", "join.key", "join.left_key", "top_k.by"})


def templates_of(task: Task) -> Iterator[tuple[str, str]]:
    """(field, text) of every template of a task; some are expressions, not texts (`condition.is_expression`)."""
    if task.system is not None:
        yield "system", task.system
    variants = {name: variant for name, variant in (task.variants or {}).items() if variant is not None}
    if (
        not variants
        or len(variants) < len(task.variants or ())
        or None in [v.prompt for v in variants.values()]
    ):
        yield from _prompt("prompt", task.prompt)  # else none of them uses it
    for name, variant in variants.items():
        yield from _of_variant(f"variants.{name}.", variant)
    if task.embed is not None:
        yield "embed", task.embed
    for i, image in enumerate(task.images):
        yield f"images[{i}]", image
    for i, file in enumerate(task.files):
        yield f"files[{i}]", file
    if task.for_each is not None:
        yield "for_each", task.for_each
    for path, text in seed_templates(task.seed):
        yield f"seed{path}", text
    if task.refine.critique is not None:
        yield "refine.critique", task.refine.critique
    yield from _conditions("", task.llms)
    yield from _of_operator(task)
    yield from _of_scores(task)


def _of_variant(place: str, variant: Variant) -> Iterator[tuple[str, str]]:
    if variant.system is not None:
        yield f"{place}system", variant.system
    yield from _prompt(f"{place}prompt", variant.prompt)
    if isinstance(variant.llm, tuple):
        yield from _conditions(place, variant.llm)


def _conditions(place: str, llms: Sequence[LLM]) -> Iterator[tuple[str, str]]:
    for n, llm in enumerate(llms):
        if isinstance(llm, CascadeStep) and llm.when is not None:
            yield f"{place}llm[{n}].when", llm.when


def _of_scores(task: Task) -> Iterator[tuple[str, str]]:
    for n, scorer in enumerate(task.scorers):
        if scorer.expect is not None:
            yield f"{task.scorer_place(n)}.expect", scorer.expect
        if scorer.judge is not None:
            yield f"{task.scorer_place(n)}.judge", scorer.judge


def _prompt(field: str, prompt: PromptText | None) -> Iterator[tuple[str, str]]:
    if isinstance(prompt, str):
        yield field, prompt
    for i, turn in enumerate(prompt or () if not isinstance(prompt, str) else ()):
        yield f"{field}[{i}].content", turn.content


def _of_operator(task: Task) -> Iterator[tuple[str, str]]:
    if task.where is not None:
        yield "where", task.where
    if isinstance(task.distinct, str):
        yield "distinct", task.distinct
    if task.unnest is not None and "{{" in task.unnest:
        yield "unnest", task.unnest
    if task.group_by is not None:
        yield "group_by.key", task.group_by.key
        yield from _prompt("group_by.combine", task.group_by.combine)
    if task.top_k is not None and task.top_k.by is not None:
        yield "top_k.by", task.top_k.by
    if (join := task.join) is not None:
        yield "join.to", join.to
        fields = {"key": join.key, "left_key": join.left_key, "right_key": join.right_key, "where": join.where}
        if task.prompt is not None:
            fields["keep"] = join.keep
        for name, text in fields.items():
            if text is not None:
                yield f"join.{name}", text


def sees_answer(task: Task, field: str) -> bool:
    """Whether an expression of an operator sees `output`, the answer of the model."""
    return task.prompt is not None and field in _OF_ANSWERS


def rows_of(task: Task, scope: SampleScope) -> Samples:
    """Samples of the rows of a map's list."""
    return NOT_KNOWN if task.for_each is None else _elements(task, "for_each", task.for_each, scope)


def items_of(task: Task, field: str, rows: Samples, scope: SampleScope) -> Samples:
    """Samples of `item` in a field of a task whose list has these rows."""
    if task.operator is None or (field in _OF_ROWS and task.operator != "join") or not rows:
        return rows
    if task.group_by is not None:
        combining = field.startswith("group_by.combine")
        return ({"key": UNKNOWN, "rows": UNKNOWN if combining else list(rows)},)
    if task.join is not None:
        others = _elements(task, "join.to", task.join.to, scope)
        if field == "join.right_key":
            return others
        if field in _OF_ROWS:
            return rows
        return ({"left": rows[0], "right": others[0] if others else UNKNOWN},)
    if task.top_k is not None and task.top_k.pairs:
        return ({"left": rows[0], "right": rows[0]},)
    return rows


def output_of(task: Task, rows: Samples, scope: SampleScope) -> object:
    """A sample of the output of a task; `rows` are those of its list."""
    if task.operator is None or task.for_each is None:
        text = task.kind == "prompt" and task.output is None
        row = MAP_ROW if task.variants is None else {**MAP_ROW, "variant": UNKNOWN, "row": UNKNOWN}
        return [row] if task.for_each is not None else "" if text else UNKNOWN
    if task.group_by is not None:
        if task.prompt is not None:
            return [{**MAP_ROW, "key": UNKNOWN, "size": UNKNOWN}]
        return [{"key": UNKNOWN, "rows": list(rows) or UNKNOWN}]
    if not rows or task.unnest is not None:
        return UNKNOWN
    return list(items_of(task, "join.where", rows, scope)) if task.join is not None else list(rows)


def _elements(task: Task, field: str, text: str, scope: SampleScope) -> Samples:
    try:
        tree = ENVIRONMENT.parse("{{ " + expression_of(text, task=task.name, field=field) + " }}")
    except (TemplateSyntaxError, TemplateFailed):
        return NOT_KNOWN  # which the check of the expression itself reports
    (output,) = tree.body
    return scope.elements(output.nodes[0]) if isinstance(output, nodes.Output) else NOT_KNOWN
