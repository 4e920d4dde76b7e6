"""Seeds that callers pass in, made into the envelope `{name, data}`.

The value is the seed's *data*: a dict is taken as it is, a list or a DataFrame becomes `{"rows": [...]}`,
nothing becomes `{}`. Only a `Seed` is an envelope already. The index of a frame is kept beside its rows.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import uuid
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel

from po_jupyter.client.inputs.row_labels import UnkeepableLabel, indexes_of
from po_jupyter.errors import InvalidSeed, Violation
from po_jupyter.model.run.seed import Seed
from po_jupyter.model.values.json import JsonObject

_MAX_SHOWN = 10
_MAX_DEPTH = 100


def seed_of(value: Any, name: str) -> Seed:
    """The seed whose data is `value`; `name` (the pipeline's) is its name unless `value` is a `Seed`.

    Dates become ISO text, UUIDs text, numbers of numpy plain numbers, dataclasses and pydantic models objects.
    NaN, NaT and NA become null: JSON has no such values, and in a table they mean that there is none. Raises
    InvalidSeed naming every place that holds what JSON cannot.
    """
    if isinstance(value, Seed):
        return value.model_copy(update={"data": _plain_object(value.data)})
    if value is None:
        return Seed(name=name, data={})
    if _rows_reader(value) is not None:
        value = {"rows": value}
    if isinstance(value, Mapping):
        return Seed(name=name, data=_plain_object(value), index=_indexes(value))
    if isinstance(value, BaseModel):
        return Seed(name=name, data=_plain_object(value.model_dump(mode="json")))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return Seed(name=name, data=_plain_object(dataclasses.asdict(value)))
    raise InvalidSeed(
        f"a seed is a dict, a list of rows or a DataFrame, not {type(value).__name__}",
        hint='For example {"text": ...}; templates see it as {{ seed.text }}.',
    )


def _indexes(data: Mapping[Any, Any]) -> JsonObject | None:
    """The indexes of the frames in `data`. Raises InvalidSeed for one that cannot be kept."""
    try:
        return indexes_of(data) or None
    except UnkeepableLabel as error:
        raise InvalidSeed(
            f"{error}, which cannot be kept beside the rows", hint="`frame.reset_index()` makes it a column."
        ) from None


def _rows_reader(value: Any) -> Callable[[], Iterable[Any]] | None:
    """Reads the rows of a list, a tuple, a DataFrame or a Series of pandas or polars; None for anything else."""
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return lambda: value
    if hasattr(value, "to_dicts"):  # polars
        return lambda: value.to_dicts()
    if hasattr(value, "iloc") and hasattr(value, "columns"):  # pandas
        return lambda: value.to_dict(orient="records")
    if hasattr(value, "iloc") and hasattr(value, "tolist"):  # a pandas Series
        return lambda: value.tolist()
    if hasattr(value, "to_list") and hasattr(value, "dtype"):  # a polars Series
        return lambda: value.to_list()
    return None


def _plain_object(data: Mapping[Any, Any]) -> JsonObject:
    """`data` as JSON. Raises InvalidSeed with every place that holds what JSON cannot."""
    conversion = _Conversion()
    plain = conversion.mapping(data, "seed", 0)
    violations = conversion.violations
    if violations:
        more = len(violations) - _MAX_SHOWN
        raise InvalidSeed(
            "the seed holds values that JSON cannot:",
            violations=violations[:_MAX_SHOWN],
            hint=(f"And {more} more. " if more > 0 else "")
            + "Turn them into text, numbers, lists or dicts first.",
        )
    return plain


class _Conversion:
    """A conversion of Python values to JSON; a value that has no JSON becomes null and a violation."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def value(self, value: Any, where: str, depth: int) -> Any:
        """One value, and all that is in it; `where` is its place in the seed."""
        if value is None or isinstance(value, bool | str) or type(value) is int:
            return value
        if depth > _MAX_DEPTH:
            return self._refuse(where, f"it is nested more than {_MAX_DEPTH} deep, or holds itself")
        if isinstance(value, Enum):
            return self.value(value.value, where, depth + 1)
        if isinstance(value, int):
            return int(value)
        if _is_missing(value):
            return None
        if isinstance(value, float):
            return (
                float(value) if math.isfinite(value) else self._refuse(where, f"{value} is not a JSON number")
            )
        if isinstance(value, Mapping):
            return self.mapping(value, where, depth)
        if isinstance(value, list | tuple):
            return [self.value(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
        return self._object(value, where, depth)

    def mapping(self, value: Mapping[Any, Any], where: str, depth: int) -> JsonObject:
        """A mapping with its keys as text."""
        fields: JsonObject = {}
        for key, item in value.items():
            if not isinstance(key, str | int | float | bool | None):
                self._refuse(where, f"the key {key!r:.40} is {type(key).__name__}, not text")
                continue
            name = key if isinstance(key, str) else json.dumps(key)  # what json would make of it
            if name in fields:
                self._refuse(where, f"two of its keys are {name!r:.40} in JSON")
            fields[name] = self.value(item, f"{where}.{name}", depth + 1)
        return fields

    def _object(self, value: Any, where: str, depth: int) -> Any:
        """An object of a class that has a meaning in JSON."""
        if isinstance(value, datetime.date | datetime.time):
            return value.isoformat()
        if isinstance(value, PurePath | uuid.UUID):
            return str(value)
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self.value(dataclasses.asdict(value), where, depth + 1)
        problem = _column_problem(value)
        if problem is not None:
            return self._refuse(where, problem)
        read_rows = _rows_reader(value)
        if read_rows is not None:
            return self.value(list(read_rows()), where, depth + 1)
        if type(value).__name__ == "datetime64":  # numpy's own would become a number of nanoseconds
            return None if str(value) == "NaT" else str(value)
        if hasattr(value, "tolist"):  # numpy scalars and arrays
            return self.value(value.tolist(), where, depth + 1)
        return self._refuse(where, f"{type(value).__name__} is not JSON")

    def _refuse(self, where: str, message: str) -> Any:
        """Null in the value's place, and a violation."""
        self.violations.append(Violation(where, message))
        return None


def _column_problem(value: Any) -> str | None:
    """What keeps the columns of a pandas frame from being the keys of its rows; None for any other value."""
    if not (hasattr(value, "iloc") and hasattr(value, "columns")):
        return None
    names: set[str] = set()
    for column in list(value.columns):
        if not isinstance(column, str | int | float | bool | None):
            return f"its column {column!r:.60} is named by a {type(column).__name__}, not by text"
        name = column if isinstance(column, str) else json.dumps(column)
        if name in names:
            return f"two of its columns are called {name!r:.60}"
        names.add(name)
    return None


def _is_missing(cell: Any) -> bool:
    """Whether a cell of a table says that there is no value."""
    if isinstance(cell, float):
        return math.isnan(cell)
    return type(cell).__name__ in {"NaTType", "NAType"}
