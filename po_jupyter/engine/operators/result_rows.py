"""The rows that an operator takes and leaves, each with where it is in its list of the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias, TypeGuard

from po_jupyter.model.values.json import JsonObject

ROWS = "$rows"

Place: TypeAlias = int | list[int]
"""The number of a row in its list of the seed; of a group those of its rows."""


class SourceRows(NamedTuple):
    """The rows of a list. `path` is the list of the seed whose rows they are (None: of none), `places` where in it each
    is (None: in that order)."""

    values: Sequence[Any]
    path: str | None = None
    places: Sequence[int] | None = None

    def place(self, index: int) -> int:
        """Where row `index` is in its list of the seed; its own number where it is in none."""
        return index if self.places is None else self.places[index]


@dataclass(frozen=True, slots=True)
class ResultRows:
    """The rows of an operator. `places` as long as `values`; `columns` are further values of each row, which its frame
    shows (a score, the row of the other list)."""

    values: list[Any]
    places: list[Place]
    path: str | None = None
    columns: Mapping[str, list[Any]] = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        """What stands for the rows in the checkpoint."""
        return {ROWS: self.values, "places": self.places, "of": self.path, "columns": dict(self.columns)}


def selected(source: SourceRows, indexes: Sequence[int], **columns: list[Any]) -> ResultRows:
    """The rows of `source` with these numbers, in this order."""
    values = [source.values[index] for index in indexes]
    return ResultRows(values, [source.place(index) for index in indexes], source.path, columns)


def is_result(value: Any) -> TypeGuard[JsonObject]:
    """Whether an output is `ResultRows.to_json`. Ask only for the output of a task with `items`: the code of another
    may make what it likes."""
    return isinstance(value, dict) and value.keys() == {ROWS, "places", "of", "columns"}


def read_result(value: JsonObject) -> ResultRows:
    """The rows that `to_json` wrote."""
    return ResultRows(value[ROWS], value["places"], value["of"], value["columns"])
