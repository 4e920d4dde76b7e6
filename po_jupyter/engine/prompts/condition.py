"""Expressions of a task: one sandboxed value of a row (`where`, `expect` of a score), or a condition over an answer
(`when` of a cascade)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeGuard

from jinja2 import TemplateSyntaxError, meta, pass_context
from jinja2.environment import TemplateExpression
from jinja2.runtime import Context, Undefined

from po_jupyter.engine.prompts.templates import (
    ENVIRONMENT,
    TOO_DEEP,
    expression_of,
    render_error,
    syntax_error,
    too_deep,
)
from po_jupyter.errors import PoError, TemplateFailed
from po_jupyter.model.pipeline.evals.confidence import CONFIDENCE
from po_jupyter.model.values.json import JsonValue

NAMES = ("output", "item", "index", "seed", "seed_name")
"""The names that a condition sees; `item` and `index` in a map."""

_MOST_VALUES = 10_000  # of what is no list yet


OPERATOR_EXPRESSIONS: Mapping[str, str] = {
    "where": "{{ item.amount > 100 }}",
    "distinct": "{{ item.email }}",
    "unnest": "{{ item.tags }}",
    "group_by.key": "{{ item.country }}",
    "join.to": "{{ seed.products }}",
    "join.key": "{{ item.city }}",
    "join.left_key": "{{ item.city }}",
    "join.right_key": "{{ item.town }}",
    "join.where": "{{ item.left.year <= item.right.year }}",
    "join.keep": "{{ output.same }}",
    "top_k.by": "{{ item.score }}",
}
"""The expressions of operators, each with an example."""


def is_expression(field: str) -> bool:
    """Whether a field of a task holds one expression, whose value is used as it is."""
    return field == "for_each" or field.endswith((".when", ".expect")) or field in OPERATOR_EXPRESSIONS


class Expression:
    """A compiled expression of one task. `field` is its place in the task, `names` are those that it uses."""

    __slots__ = ("_expression", "field", "names", "source", "task")

    def __init__(self, text: str, *, task: str, field: str) -> None:
        """Compile the expression in `text`. Raises TemplateFailed."""
        self.task, self.field = task, field
        try:
            self.source = expression_of(text, task=task, field=field)
            self._expression = self._compile()
            self.names = frozenset(
                meta.find_undeclared_variables(ENVIRONMENT.parse("{{ " + self.source + " }}"))
            )
        except TemplateSyntaxError as error:
            raise syntax_error(error, task, field) from None
        except TOO_DEEP:
            raise too_deep(task, field) from None

    def value(self, names: Mapping[str, JsonValue]) -> JsonValue:
        """Its value for these names. Raises TemplateFailed, for a field that is not there too.

        A confidence that is not known can be told from others (`is none`), and where that fails it is none at all: 0.
        """
        try:
            return self._value(names)
        except TemplateFailed:
            unsure = _unsure(names)
            if unsure is None:
                raise
            return self._value(unsure)

    def _value(self, names: Mapping[str, JsonValue]) -> JsonValue:
        with self._errors():
            value = self._evaluate(names)
            if isinstance(value, Undefined):
                str(value)  # raises, with the message of our undefined
            return _gone_through(value)

    def value_or_none(self, names: Mapping[str, JsonValue]) -> JsonValue:
        """Its value, None for a field that is not there; of what can only be gone through, a list. Raises
        TemplateFailed."""
        with self._errors():
            value = self._evaluate(names)
            if isinstance(value, Undefined):
                return None
            if isinstance(value, Iterable) and not isinstance(value, str | Mapping | list):
                return list(islice(value, _MOST_VALUES))
            return value

    def _compile(self) -> TemplateExpression:
        return ENVIRONMENT.compile_expression(self.source, undefined_to_none=False)

    def _evaluate(self, names: Mapping[str, JsonValue]) -> JsonValue:
        value: JsonValue = self._expression(**names)
        return value

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except PoError:
            raise
        except Exception as error:
            raise render_error(error, self.task, self.field) from None


def _gone_through(value: Any) -> Any:
    """A list of what can only be gone through: `item.tags | select(...)` is true as it is, whatever it selects."""
    if isinstance(value, Iterable) and not isinstance(value, str | Mapping | Sequence):
        return list(value)
    return value


def _unsure(names: Mapping[str, JsonValue]) -> Mapping[str, JsonValue] | None:
    """The names with 0 for a confidence of null, of the answer or of that of the row; None where there is none."""
    changed: dict[str, JsonValue] = {}
    output, row = names.get("output"), names.get("item")
    if _lacks_confidence(output):
        changed["output"] = {**output, CONFIDENCE: 0.0}
    if isinstance(row, Mapping) and _lacks_confidence(answer := row.get("output")):
        changed["item"] = {**row, "output": {**answer, CONFIDENCE: 0.0}}
    return {**names, **changed} if changed else None


def _lacks_confidence(output: JsonValue) -> TypeGuard[Mapping[str, JsonValue]]:
    return isinstance(output, Mapping) and CONFIDENCE in output and output[CONFIDENCE] is None


class Condition(Expression):
    """An expression over an answer that holds or does not."""

    __slots__ = ()

    def holds(self, names: Mapping[str, JsonValue]) -> bool:
        """Whether it is true of these values. Raises TemplateFailed."""
        seen = {name: value for name, value in names.items() if name in NAMES or name in ENVIRONMENT.globals}
        return bool(self.value(seen))


class ExpectedValue(Expression):
    """What is expected of an answer. A filter of texts leaves null as it is: `item.gold | lower` of a row without a
    label is no label, where a template would print "none"."""

    __slots__ = ()

    def _compile(self) -> TemplateExpression:
        return _NULL_KEEPING.compile_expression(self.source, undefined_to_none=False)


def _keeping_null(text_filter: Callable[..., Any]) -> Callable[..., Any]:
    @pass_context  # as the filters of the sandbox are
    def filtered(context: Context, value: Any, *arguments: Any, **options: Any) -> Any:
        return None if value is None else text_filter(context, value, *arguments, **options)

    return filtered


_TEXT_FILTERS = ("capitalize", "lower", "string", "title", "trim", "upper")
_NULL_KEEPING = ENVIRONMENT.overlay()
_NULL_KEEPING.filters = {
    **ENVIRONMENT.filters,
    **{name: _keeping_null(ENVIRONMENT.filters[name]) for name in _TEXT_FILTERS},
}
