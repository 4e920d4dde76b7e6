"""Conditions on rows: an expression over the columns of `run.frame`, such as `not ok or confidence < 0.7`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import TemplateError, Undefined, meta
from jinja2.sandbox import SandboxedEnvironment

from po_jupyter.errors import InvalidInput
from po_jupyter.model.pipeline.violations import did_you_mean


class _Missing(Undefined):
    """A value that a row does not have: no comparison with it holds, as with NULL in SQL."""

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = __eq__  # type: ignore[assignment]  # jinja2's raise

    def __hash__(self) -> int:
        return id(type(self))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key: object) -> _Missing:  # type: ignore[override]  # jinja2's raises
        return self


class RowCondition:
    """An expression that holds for a row or does not. `names` are the columns that it is about."""

    def __init__(self, text: str) -> None:
        """Raises InvalidInput for what is no expression."""
        self.text = text
        environment = SandboxedEnvironment(undefined=_Missing)
        environment.tests["none"] = lambda value: value is None or isinstance(value, _Missing)
        try:
            self._expression = environment.compile_expression(text, undefined_to_none=False)
            self.names = frozenset(meta.find_undeclared_variables(environment.parse("{{ (" + text + ") }}")))
        except TemplateError as error:
            raise InvalidInput(
                f"the condition {text!r:.200} is not an expression: {error.message}",
                hint="For example: not ok or confidence < 0.7",
            ) from None

    def check_names(self, columns: set[str]) -> None:
        """Raises InvalidInput for a name that no row has."""
        for name in sorted(self.names - columns):
            raise InvalidInput(
                f"no row has the column {name!r:.80} of the condition{did_you_mean(name, sorted(columns))}",
                hint=f"Columns: {', '.join(sorted(columns))}",
            )

    def holds(self, cells: Mapping[str, Any]) -> bool:
        """Whether it holds for a row of these cells. Raises InvalidInput where it cannot be said."""
        present = {name: value for name, value in cells.items() if value is not None}
        try:
            return bool(self._expression(**present))
        except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise InvalidInput(
                f"the condition {self.text!r:.200} cannot be asked of row {cells.get('index')}: {error}",
                hint="Numbers are compared with numbers, texts with texts.",
            ) from None
