"""Operators of tasks: the expressions of a task compiled, and applied to the rows of its list."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from po_jupyter.engine.operators.distinct import distinct
from po_jupyter.engine.operators.groups import Fits, GroupPlan, grouped, groups
from po_jupyter.engine.operators.join import JoinedPairs, pairs
from po_jupyter.engine.operators.plans import Plan, ScorePlan, SelectPlan
from po_jupyter.engine.operators.result_rows import ResultRows, SourceRows, selected
from po_jupyter.engine.operators.similar import SimilarPlan
from po_jupyter.engine.operators.top_k import best
from po_jupyter.engine.operators.tournament import PairsPlan
from po_jupyter.engine.operators.unnest import unnest_field, unnest_values
from po_jupyter.engine.operators.where import where
from po_jupyter.engine.prompts.condition import Expression
from po_jupyter.engine.prompts.row_origins import OriginRows
from po_jupyter.engine.prompts.templates import RowsExpression
from po_jupyter.errors import TemplateFailed
from po_jupyter.model.pipeline.operators.fields import Similar
from po_jupyter.model.pipeline.pipeline import Task
from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.plain_json import PlainJson

_NAMES_ALONE = re.compile(r"[\s{}\w.]*")  # `{{ seed.rows }}`: what is there is JSON
_EVERY = 256  # rows between two looks at the clock
Value = Callable[[Any, int], Any]
Made = TypeVar("Made")


def source_rows(rows: Sequence[Any], limit: int | None) -> SourceRows:
    """The rows of a list with where they are in the seed, of these the first `limit`."""
    origin = rows.origin if isinstance(rows, OriginRows) else None
    values = rows if limit is None or limit >= len(rows) else rows[:limit]
    return SourceRows(values) if origin is None else SourceRows(values, origin.path, origin.places)


class OperatorCode:
    """The operator of one task. `names` are what its expressions see besides the row; `checkpoint` is called now and
    then, and raises when work has to end. Everything here may take seconds: call it in a thread."""

    def __init__(
        self, task: Task, names: Mapping[str, Any], checkpoint: Callable[[], None] = lambda: None
    ) -> None:
        """The operator of `task`, which has one."""
        self.task = task
        self._names = dict(names)
        self._checkpoint = checkpoint
        self._evaluated = 0
        self._until = time.monotonic() + task.timeout

    def rows(self, source: SourceRows) -> ResultRows:
        """The rows of a task that asks no model. Raises TemplateFailed."""
        return self._made(lambda: _in_json(self._rows(source)))

    def plan(self, source: SourceRows, fits: Fits) -> Plan:
        """What a task asks a model about. Raises TemplateFailed."""

        def plan() -> Plan:
            if not _NAMES_ALONE.fullmatch(self.task.for_each or ""):
                _json_of(source.values, "row")  # before anything is paid for rows that cannot be kept
            return self._plan(source, fits)

        return self._made(plan)

    def result(self, plan: Plan, outcomes: Sequence[JsonObject]) -> ResultRows:
        """The rows that the outcomes of all items make. Raises TemplateFailed."""
        self._until = time.monotonic() + self.task.timeout
        return self._made(lambda: _in_json(plan.result(outcomes)))

    def _made(self, make: Callable[[], Made]) -> Made:
        try:
            return make()
        except ValueError as error:
            raise TemplateFailed(f"task {self.task.name!r}: {self.task.operator}: {error}") from None

    def _rows(self, source: SourceRows) -> ResultRows:
        task = self.task
        if task.where is not None:
            return where(source, self._value("where", task.where))
        if isinstance(task.distinct, str):
            return distinct(source, self._value("distinct", task.distinct))
        if task.unnest is not None:
            if "{{" in task.unnest:
                return unnest_values(source, self._value("unnest", task.unnest))
            return unnest_field(source, task.unnest)
        if task.group_by is not None:
            return grouped(source, self._value("group_by.key", task.group_by.key))
        if task.join is not None:
            made = self._pairs(source)
            return selected(made.rows, range(len(made.right_rows)), right_row=made.right_rows)
        assert task.top_k is not None
        value = self._value("top_k.by", task.top_k.by or "")
        values = {index: value(row, index) for index, row in enumerate(source.values)}
        chosen = best(values, task.top_k.k)
        return selected(source, chosen, rank=list(range(1, len(chosen) + 1)))

    def _plan(self, source: SourceRows, fits: Fits) -> Plan:
        task = self.task
        if task.where is not None:
            return SelectPlan(source, self._answer_value("where", task.where))
        if isinstance(task.distinct, Similar):
            return SimilarPlan(source, task.distinct.similarity, self._tick)
        if task.join is not None:
            made = self._pairs(source)
            keeps = self._answer_value("join.keep", task.join.keep)
            return SelectPlan(made.rows, keeps, {"right_row": made.right_rows})
        if task.group_by is not None:
            found = groups(source, self._value("group_by.key", task.group_by.key))
            _json_of([group.key for group in found], "key")
            return GroupPlan(source, found, fits)
        assert task.top_k is not None
        if task.top_k.pairs:
            return PairsPlan(source, task.top_k.k)
        by = task.top_k.by or "{{ output.score }}"
        return ScorePlan(source, task.top_k.k, self._answer_value("top_k.by", by))

    def _pairs(self, left: SourceRows) -> JoinedPairs:
        join = self.task.join
        assert join is not None
        right = RowsExpression(join.to, task=self.task.name, field="join.to").evaluate(self._names)
        keys = None
        if join.key is not None:
            keys = self._value("join.key", join.key), self._value("join.key", join.key)
        elif join.left_key is not None and join.right_key is not None:
            keys = self._value("join.left_key", join.left_key), self._value("join.right_key", join.right_key)
        if join.where is None:
            return pairs(left, SourceRows(right), keys, self._look, join.max_pairs)
        holds = self._value("join.where", join.where)
        return pairs(left, SourceRows(right), keys, lambda pair: holds(pair, 0), join.max_pairs)

    def _look(self, pair: Any) -> bool:
        self._tick()
        return True

    def _value(self, field: str, text: str) -> Value:
        expression, names = Expression(text, task=self.task.name, field=field), self._names

        def value(row: Any, index: int) -> Any:
            self._tick()
            names["item"], names["index"] = row, index
            try:
                return expression.value(names)
            except TemplateFailed as error:
                raise self._at_row(error, index) from None

        return value

    def _answer_value(self, field: str, text: str) -> Callable[[Any, Any, int], Any]:
        value, names = self._value(field, text), self._names

        def of_answer(item: Any, output: Any, index: int) -> Any:
            names["output"] = output
            return value(item, index)

        return of_answer

    def _at_row(self, error: TemplateFailed, index: int) -> TemplateFailed:
        return TemplateFailed(
            f"{error.message} (row {index})", hint=error.hint, details={**error.details, "row": index}
        )

    def _tick(self) -> None:
        self._evaluated += 1
        if self._evaluated % _EVERY == 0:
            self._checkpoint()
            if time.monotonic() > self._until:
                raise TemplateFailed(
                    f"task {self.task.name!r}: {self.task.operator} took longer than {self.task.timeout:g} s",
                    hint="An expression that is quicker, fewer rows or pairs, or a longer `timeout`.",
                )


def _in_json(result: ResultRows) -> ResultRows:
    """The rows as the checkpoint keeps them: an expression may give a tuple, NaN, infinity. Raises ValueError."""
    columns = {name: _json_of(values, f"column {name} of row") for name, values in result.columns.items()}
    return replace(result, values=_json_of(result.values, "row"), columns=columns)


def _json_of(values: Sequence[Any], what: str) -> list[Any]:
    conversion = PlainJson()
    plain = [conversion.value(value, f"{what} {index}") for index, value in enumerate(values)]
    if conversion.refused:
        refused = conversion.refused[0]
        raise ValueError(f"{refused.where}: {refused.message}")
    return plain
