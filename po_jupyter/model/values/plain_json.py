"""Plain JSON of Python values: one notation for seeds, outputs of tasks and everything else that code hands over.

    date, time, datetime, Timestamp    ISO text           Decimal, UUID, path          text
    timedelta, Timedelta               ISO duration       Enum                         its value
    NaN, NaT, NA                       null               tuple                        list
    Period, Interval (pandas)          text
    numpy's numbers and arrays         number, list       pydantic model, dataclass    object
    DataFrame (pandas, polars)         list of objects    Series                       list
    Dataset (Hugging Face)             list of objects    relation (DuckDB)            list of objects

What JSON cannot hold is refused with its place: infinities, bytes, sets, objects of other classes, half a surrogate
pair, integers of more than 4,000 digits, nesting of more than 100 levels, and keys that would become the same text.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import json
import math
import uuid
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from po_jupyter.model.values.json import JsonObject
from po_jupyter.model.values.lazy_list import LazyList

MAX_DEPTH = 100  # deeper than any answer of a model; keeps the walk clear of Python's recursion limit
_SMALL = 2**63
_MAX_BITS = 13_000  # of an integer: about 4,000 digits; Python reads no more than 4,300 back


class Refused(NamedTuple):
    """A value that JSON cannot hold: its place, what is wrong with it, and what to do.

    `foreign` is the name of its type where the type is what is wrong.
    """

    where: str
    message: str
    hint: str
    foreign: str


class PlainJson:
    """A conversion of Python values to JSON; what has no JSON becomes null, and an entry of `refused`.

    A value that is JSON already is answered as it is, the very same object.
    """

    def __init__(self) -> None:
        """Nothing is refused yet."""
        self.refused: list[Refused] = []

    def value(self, value: Any, path: str = "", depth: int = 0) -> Any:
        """The JSON of a value and of all that is in it; `path` is its place."""
        kind = type(value)
        if kind is str:
            return value if value.isascii() else self._text(value, path)
        if value is None or kind is bool:
            return value
        if kind is int:
            return value if -_SMALL < value < _SMALL else self._integer(value, path)
        if kind is float:
            return value if math.isfinite(value) else self._not_finite(value, path)
        if depth > MAX_DEPTH:
            return self._refuse(path[:80], f"nested deeper than {MAX_DEPTH} levels, or holds itself")
        if kind is dict:
            return self._dict(value, path, depth)
        if kind is list:
            return self._list(value, path, depth)
        return self._other(value, path, depth)

    # -- what JSON has ----------------------------------------------------------------------------
    def _text(self, value: str, path: str) -> Any:
        try:
            value.encode()
        except UnicodeEncodeError:
            return self._refuse(path, "half a surrogate pair, which is not text")
        return value

    def _integer(self, value: int, path: str) -> Any:
        if value.bit_length() > _MAX_BITS:
            return self._refuse(path, "an integer of more than 4,000 digits", "Return it as text.")
        return value

    def _not_finite(self, value: float, path: str) -> Any:
        # In a table NaN says that there is no value.
        return None if math.isnan(value) else self._refuse(path, f"{value} is not a JSON number")

    def _list(self, value: list[Any], path: str, depth: int) -> list[Any]:
        result = value
        for i, item in enumerate(value):
            plain = self.value(item, f"{path}[{i}]", depth + 1)
            if plain is not item:
                if result is value:
                    result = list(value)
                result[i] = plain
        return result

    def _dict(self, value: dict[Any, Any], path: str, depth: int) -> JsonObject:
        if not all(type(key) is str and key.isascii() for key in value):
            return self.mapping(value, path, depth)
        result = value
        for key, item in value.items():
            plain = self.value(item, f"{path}.{key}" if path else key, depth + 1)
            if plain is not item:
                if result is value:
                    result = dict(value)
                result[key] = plain
        return result

    def mapping(self, value: Mapping[Any, Any], path: str, depth: int = 0) -> JsonObject:
        """A mapping of any kind, with its keys as text."""
        fields: JsonObject = {}
        for key, item in value.items():
            name = self._key(key, path)
            if name is None:
                continue
            if name in fields:
                self._refuse(path, f"two of its keys are {name!r:.40} in JSON")
            fields[name] = self.value(item, f"{path}.{name}" if path else name, depth + 1)
        return fields

    def _key(self, key: Any, path: str) -> str | None:
        """A key as text; None for one that is refused."""
        before = len(self.refused)
        plain = self.value(key, f"a key of {path or 'the value'}")
        if isinstance(plain, str):
            return plain
        if isinstance(plain, list | dict):
            self._refuse(path, f"the key {key!r:.40} is {type(key).__name__}, not text", "Use str(key).")
        return json.dumps(plain) if len(self.refused) == before else None  # what json would make of it

    # -- what stands for something of JSON ----------------------------------------------------------
    def _other(self, value: Any, path: str, depth: int) -> Any:
        if isinstance(value, Enum):
            return self.value(value.value, path, depth + 1)
        if isinstance(value, str):
            return self._text(str.__str__(value), path)
        if isinstance(value, int):
            return self._integer(int(value), path)
        if isinstance(value, float):
            return self.value(float(value), path, depth)
        if isinstance(value, Mapping):
            return self.mapping(value, path, depth)
        if isinstance(value, list | tuple | LazyList):
            return self._list(list(value), path, depth)
        if type(value).__name__ in ("NaTType", "NAType"):
            return None
        if type(value).__name__ in ("Period", "Interval") and type(value).__module__.startswith("pandas"):
            return str(value)  # of a column of `pandas.cut` too
        return self._object(value, path, depth)

    def _object(self, value: Any, path: str, depth: int) -> Any:
        """An object of a class that has a meaning in JSON."""
        if isinstance(value, datetime.date | datetime.time):
            return value.isoformat()
        if isinstance(value, datetime.timedelta):
            return to_jsonable_python(value)
        if isinstance(value, PurePath | uuid.UUID):
            return self._text(str(value), path)
        if isinstance(value, decimal.Decimal):
            if value.is_finite():
                return str(value)  # all its digits, as pydantic writes it
            return None if value.is_nan() else self._refuse(path, f"{value} is not a JSON number")
        if isinstance(value, BaseModel):
            return self._model(value, path, depth)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
            return self.value(fields, path, depth)
        if (problem := _column_problem(value)) is not None:
            return self._refuse(path, problem)
        if (read_rows := rows_reader(value)) is not None:
            return self.value(list(read_rows()), path, depth)
        if hasattr(value, "dtype"):
            return self._numpy(value, path, depth)
        return self._refuse_type(value, path)

    def _model(self, value: BaseModel, path: str, depth: int) -> Any:
        try:
            fields = value.model_dump(mode="json")
        except PydanticSerializationError as error:
            return self._refuse(path, f"{type(value).__name__} cannot be written as JSON: {error}"[:200])
        return self.value(fields, path, depth)

    def _numpy(self, value: Any, path: str, depth: int) -> Any:
        """A scalar or an array of numpy, or something that says its values as one."""
        kind, name = getattr(value.dtype, "kind", ""), type(value).__name__
        if name == "datetime64":  # numpy's own conversion would give a number of nanoseconds
            return None if str(value) == "NaT" else str(value)
        if name == "timedelta64":
            return self._timedelta64(value, path)
        if name == "longdouble":
            return self.value(float(value), path, depth)
        if kind in ("m", "M") and getattr(value, "ndim", None):
            return self.value(list(value), path, depth)
        if hasattr(value, "tolist"):
            return self.value(value.tolist(), path, depth + 1)
        return self._refuse_type(value, path)

    def _timedelta64(self, value: Any, path: str) -> Any:
        if str(value) == "NaT":
            return None
        if str(value.dtype).endswith(("[Y]", "[M]", "64")):
            return self._refuse(path, f"{value!s:.40} is no certain time")
        return to_jsonable_python(value.astype("timedelta64[us]").tolist())

    def _refuse(self, path: str, message: str, hint: str = "") -> Any:
        """Null in the value's place, and an entry of `refused`."""
        self.refused.append(Refused(path, message, hint, ""))
        return None

    def _refuse_type(self, value: Any, path: str) -> Any:
        name = type(value).__name__
        self.refused.append(Refused(path, f"{name} is not JSON", _hint(value), name))
        return None


def rows_reader(value: Any) -> Callable[[], Iterable[Any]] | None:
    """Reads the rows of a list, a tuple, a DataFrame or a Series of pandas or polars, a Dataset, or
    a relation of DuckDB; None for anything else."""
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return lambda: value
    if hasattr(value, "to_dicts"):  # polars
        return lambda: value.to_dicts()
    if hasattr(value, "iloc") and hasattr(value, "columns"):  # pandas
        return lambda: value.to_dict(orient="records")
    if hasattr(value, "iloc") and hasattr(value, "tolist"):  # a pandas Series
        return lambda: value.tolist()
    if hasattr(value, "to_list") and hasattr(value, "column_names"):  # a Dataset of Hugging Face
        return lambda: value.to_list()
    if _is_relation(value):
        return lambda: [dict(zip(value.columns, row, strict=True)) for row in value.fetchall()]
    if hasattr(value, "to_list") and hasattr(value, "dtype"):  # a polars Series
        return lambda: value.to_list()
    return None


def _is_relation(value: Any) -> bool:
    """Whether a value is a relation of DuckDB, the result of a query that may not have run yet."""
    return hasattr(value, "fetchall") and hasattr(value, "columns") and hasattr(value, "limit")


def _column_problem(value: Any) -> str | None:
    """The reason why the columns of a pandas frame or a relation cannot be the keys of its rows; None for any other
    value."""
    if not ((hasattr(value, "iloc") and hasattr(value, "columns")) or _is_relation(value)):
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


def _hint(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return "Keep bytes with ctx.io.write_artifact and return their name."
    if isinstance(value, set | frozenset):
        return "Return sorted(value), a list."
    if hasattr(value, "__next__") or hasattr(value, "__iter__"):
        return "Return list(value)."
    return ""
