"""The seed of a pipeline that a task runs: JSON whose texts are templates, each evaluated to the value that it names.

A text that is one expression, `"{{ tasks.find.rows }}"`, gives that value as it is; any other text is rendered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from jinja2 import TemplateSyntaxError, nodes
from jinja2.runtime import Undefined

from po_jupyter.engine.prompts.render_meter import MAX_ROWS
from po_jupyter.engine.prompts.templates import ENVIRONMENT, PromptTemplate, render_error
from po_jupyter.errors import PoError, TemplateFailed
from po_jupyter.model.values.chunked_json import check_json
from po_jupyter.model.values.json import JsonObject, JsonValue
from po_jupyter.model.values.lazy_list import LazyList


def seed_templates(value: JsonValue, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, text) of every text in a seed: `.rows`, `.people[0].name`."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from seed_templates(inner, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from seed_templates(inner, f"{path}[{i}]")


def evaluate_seed(seed: Mapping[str, JsonValue], names: Mapping[str, JsonValue], *, task: str) -> JsonObject:
    """The data of the seed, with `names` as `template_names` gives them. Blocks where they are read from the store.

    Raises TemplateFailed, also for a value that is no JSON.
    """
    data = {key: _evaluated(value, names, task, f"seed.{key}") for key, value in seed.items()}
    try:
        check_json(data)
    except (TypeError, ValueError, RecursionError):
        raise TemplateFailed(
            f"task {task!r}: the seed of its pipeline comes out with what JSON does not know"
        ) from None
    return data


def _evaluated(value: JsonValue, names: Mapping[str, JsonValue], task: str, field: str) -> JsonValue:
    if isinstance(value, str):
        return _of_text(value, names, task, field)
    if isinstance(value, Mapping):
        return {key: _evaluated(inner, names, task, f"{field}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_evaluated(inner, names, task, f"{field}[{i}]") for i, inner in enumerate(value)]
    return value


def _of_text(text: str, names: Mapping[str, JsonValue], task: str, field: str) -> JsonValue:
    template = PromptTemplate(text, task=task, field=field)
    if (source := _expression_in(text)) is None:
        return template.render(names)
    try:
        found = ENVIRONMENT.compile_expression(source, undefined_to_none=False)(**names)
        if isinstance(found, Undefined):
            str(found)  # raises, with the message of our undefined
        return _as_json(found)
    except PoError:
        raise
    except Exception as error:
        raise render_error(error, task, field) from None


def _expression_in(text: str) -> str | None:
    """The expression of a text that is nothing else; None for another text."""
    inner = text.strip()
    if not (inner.startswith("{{") and inner.endswith("}}")):
        return None
    try:
        body = ENVIRONMENT.parse(inner).body
    except TemplateSyntaxError:
        return None
    alone = len(body) == 1 and isinstance(body[0], nodes.Output) and len(body[0].nodes) == 1
    return inner[2:-2].strip("-+").strip() if alone else None


def _as_json(value: object) -> JsonValue:
    """A value of a template as JSON: rows that are read one by one, and what filters give, as lists."""
    if isinstance(value, Mapping):
        return {str(key): _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | LazyList):
        return [_as_json(inner) for inner in value]
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_as_json(inner) for inner in islice(value, MAX_ROWS)]
    return value  # what is no JSON is refused as a whole
