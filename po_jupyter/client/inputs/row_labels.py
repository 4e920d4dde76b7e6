"""Row labels: the index of a pandas frame or Series as JSON, exactly, and back.

A level is `{name?, type, values}`. `type` is the dtype as pandas writes it. Values are plain JSON where the type says
what they are; in a level of mixed objects the others are tagged, `{"date": "2026-01-02"}`. pandas is never imported
to write a level: who has one has pandas.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from importlib import import_module
from pathlib import PurePath
from typing import Any

from po_jupyter.model.run.row_index import RANGE, row_path
from po_jupyter.model.values.json import JsonObject

_MAX_CATEGORIES = 1000  # of a level that stays categorical
_MAX_DEPTH = 100


class UnkeepableLabel(Exception):
    """A label that has no JSON. Its text is the type."""


# -- writing --------------------------------------------------------------------------------------


def indexes_of(data: Mapping[Any, Any]) -> JsonObject:
    """The indexes of the frames and Series in a seed's data, by path; those that only count the rows are left out.

    Raises UnkeepableLabel, with the path and the type.
    """
    indexes: JsonObject = {}
    todo: list[tuple[tuple[str, ...], Any]] = [((), data)]
    seen: set[int] = set()
    while todo:
        keys, value = todo.pop()
        if isinstance(value, Mapping):
            if id(value) not in seen and len(keys) < _MAX_DEPTH:
                seen.add(id(value))
                todo.extend(((*keys, key), v) for key, v in value.items() if isinstance(key, str))
        elif keys and hasattr(value, "iloc") and hasattr(value, "index"):
            try:
                index = _index(value.index)
            except UnkeepableLabel as error:
                raise UnkeepableLabel(f"the index of seed.{'.'.join(keys)} holds {error}") from None
            if index is not None:
                indexes[row_path(keys)] = index
    return indexes


def _index(index: Any) -> JsonObject | None:
    """An index as JSON; None for one without a name that counts from 0."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and not isinstance(index, pandas.Index) and hasattr(index, "to_pandas"):
        index = index.to_pandas()  # a frame of another library with the same interface
    if pandas is None or not isinstance(index, pandas.Index):
        return None
    levels = [index.get_level_values(i) for i in range(index.nlevels)]
    if isinstance(index, pandas.RangeIndex) and (index.start, index.step, index.name) == (0, 1, None):
        return None
    multi = {"multi": True} if isinstance(index, pandas.MultiIndex) else {}
    return {"library": "pandas", **multi, "levels": [_named(level, pandas) for level in levels]}


def _named(level: Any, pandas: Any) -> JsonObject:
    name = {} if level.name is None else {"name": _tagged(level.name)}
    return {**name, **_level(level, pandas)}


def _level(level: Any, pandas: Any) -> JsonObject:
    if isinstance(level, pandas.RangeIndex):
        return {"type": RANGE, RANGE: [level.start, level.stop, level.step]}
    dtype = level.dtype
    if isinstance(dtype, pandas.CategoricalDtype):
        return _categories(level, pandas)
    if isinstance(dtype, pandas.IntervalDtype):
        left, right = _level(level.left, pandas), _level(level.right, pandas)
        if RANGE in left or RANGE in right:  # of whole numbers in steps
            left, right = (_level(pandas.Index(list(side)), pandas) for side in (level.left, level.right))
        pairs = [
            None if missing else [a, b]
            for a, b, missing in zip(left["values"], right["values"], level.isna(), strict=True)
        ]
        return {"type": "interval", "closed": dtype.closed, "sides": left["type"], "values": pairs}
    if isinstance(dtype, pandas.PeriodDtype):
        ordinals = [
            None if missing else n for n, missing in zip(level.asi8.tolist(), level.isna(), strict=True)
        ]
        return {"type": str(dtype), "values": ordinals}
    if isinstance(level, pandas.DatetimeIndex):
        return _times(level, pandas)
    if isinstance(level, pandas.TimedeltaIndex):
        counts = [None if missing else n for n, missing in zip(level.asi8.tolist(), level.isna(), strict=True)]
        return {"type": str(dtype), "values": counts}
    values = level.tolist()
    if str(dtype) != "object":
        missing = level.isna()
        return {
            "type": str(dtype),
            "values": [None if m else _tagged(v) for v, m in zip(values, missing, strict=True)],
        }
    return {"type": "object", "values": [_tagged(v) for v in values]}


def _categories(level: Any, pandas: Any) -> JsonObject:
    """A categorical level; with very many categories it becomes one of plain values, which joins as well."""
    categories = level.categories
    if len(categories) > _MAX_CATEGORIES:
        return _level(pandas.Index(level.to_numpy(), name=level.name), pandas)
    if isinstance(categories, pandas.RangeIndex):
        categories = pandas.Index(list(categories))
    plain = _level(categories, pandas)
    values = [None if code < 0 else plain["values"][code] for code in level.codes.tolist()]
    return {"type": "category", "ordered": bool(level.ordered), "categories": plain, "values": values}


def _times(level: Any, pandas: Any) -> JsonObject:
    """Moments as ISO text in the unit of the level; with a zone in UTC."""
    numpy = sys.modules["numpy"]
    name = str(level.dtype)
    if level.tz is not None:
        try:
            same = pandas.api.types.pandas_dtype(name) == level.dtype
        except TypeError:  # zones that only Python objects name
            same = False
        name = name if same else f"datetime64[{level.unit}, UTC]"
    zone = "" if level.tz is None else "Z"
    texts = numpy.datetime_as_string(
        level.to_numpy() if level.tz is None else level.tz_convert(None).to_numpy()
    )
    return {"type": name, "values": [None if t == "NaT" else t + zone for t in texts.tolist()]}


def _tagged(value: Any) -> Any:
    """One label as JSON. Raises UnkeepableLabel."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum) and isinstance(value, str | int):
        value = value.value
    if isinstance(value, str):
        text = str(value)
        return text if text.isascii() or _is_text(text) else {"text": json.dumps(text)}
    if isinstance(value, int):
        return int(value) if abs(value) < 2**63 else {"int": str(int(value))}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, tuple):
        return {"tuple": [_tagged(part) for part in value]}
    for name, (known, write, _) in _TAGS.items():
        if type(value).__name__ == name or (known is not None and isinstance(value, known)):
            return {name: write(value)}
    if hasattr(value, "dtype") and hasattr(value, "item"):  # a scalar of numpy
        plain = value.item()
        return _tagged(_pandas().Timestamp(value) if "datetime64" in str(value.dtype) else plain)
    raise UnkeepableLabel(type(value).__name__)


def _is_text(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


# -- reading --------------------------------------------------------------------------------------


def pandas_index(spec: Mapping[str, Any], labels: Sequence[Any], places: Sequence[int]) -> Any:
    """The index of the rows whose labels are given. `spec` is that of the seed, `places` where in it the rows are."""
    pandas = _pandas()
    levels = spec["levels"]
    if not spec.get("multi"):
        return _read_level(levels[0], labels, places, pandas)
    columns = [
        _read_level(level, [label[i] for label in labels], places, pandas) for i, level in enumerate(levels)
    ]
    return pandas.MultiIndex.from_arrays(columns, names=[column.name for column in columns])


def label_columns(spec: Mapping[str, Any], labels: Sequence[Any]) -> dict[str, list[Any]]:
    """The labels as columns of Python values, under the names that `reset_index()` gives them."""
    levels: list[JsonObject] = spec["levels"]
    columns: dict[str, list[Any]] = {}
    for i, level in enumerate(levels):
        unnamed = f"level_{i}" if spec.get("multi") else "index"
        name = str(_untagged(level["name"])) if "name" in level else unnamed
        if name in columns:
            name = f"{name}_{i}"
        values = [label[i] for label in labels] if spec.get("multi") else labels
        columns[name] = [_python_value(level, value) for value in values]
    return columns


def _read_level(level: Mapping[str, Any], values: Sequence[Any], places: Sequence[int], pandas: Any) -> Any:
    name = _untagged(level["name"]) if "name" in level else None
    if level["type"] == RANGE and list(places) == list(range(len(places))):
        start, _, step = level[RANGE]
        return pandas.RangeIndex(start, start + step * len(places), step, name=name)
    return _pandas_values(level, values, pandas).rename(name)


def _pandas_values(level: Mapping[str, Any], values: Sequence[Any], pandas: Any) -> Any:
    kind = level["type"]
    numpy = sys.modules["numpy"]
    if kind == RANGE:
        return pandas.Index(list(values), dtype="int64")
    if kind == "category":
        categories = _pandas_values(level["categories"], level["categories"]["values"], pandas)
        numbers = {json.dumps(category): i for i, category in enumerate(level["categories"]["values"])}
        codes = [-1 if value is None else numbers[json.dumps(value)] for value in values]
        ordered = bool(level.get("ordered"))
        return pandas.CategoricalIndex(pandas.Categorical.from_codes(codes, categories, ordered=ordered))
    if kind == "interval":
        sides = {"type": level["sides"]}
        left, right = (
            _pandas_values(sides, [pair[side] if pair else None for pair in values], pandas) for side in (0, 1)
        )
        return pandas.IntervalIndex.from_arrays(left, right, closed=level["closed"])
    if kind.startswith("datetime64["):
        unit, _, zone = kind[len("datetime64[") : -1].partition(", ")
        texts = ["NaT" if v is None else v.removesuffix("Z") for v in values]
        times = pandas.DatetimeIndex(numpy.array(texts, dtype=f"datetime64[{unit}]"))
        return times.tz_localize("UTC").tz_convert(zone) if zone else times
    if kind.startswith(("timedelta64[", "period[")):
        counts = numpy.array([_NAT if v is None else v for v in values], dtype="int64")
        if kind.startswith("period["):
            return pandas.PeriodIndex.from_ordinals(counts, freq=pandas.api.types.pandas_dtype(kind).freq)
        return pandas.TimedeltaIndex(counts.view(kind))
    plain_values = [_untagged(v) for v in values]
    if kind != "object":
        try:
            return pandas.Index(plain_values, dtype=kind)
        except (TypeError, ValueError, ImportError):  # missing values among numbers, a type of another version
            return pandas.Index(plain_values)
    return pandas.Index(_array_of_objects(plain_values, numpy), dtype=object)


def _array_of_objects(values: Sequence[Any], numpy: Any) -> Any:
    """An array that takes tuples as they are; an Index of a list of tuples would be a MultiIndex."""
    array = numpy.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        array[i] = value
    return array


def _python_value(level: Mapping[str, Any], value: Any) -> Any:
    """A label as a Python value that every library of frames knows."""
    kind = level["type"]
    if kind == "category":
        return _python_value(level["categories"], value)
    if value is None or (
        isinstance(value, bool | int | float) and not kind.startswith(("timedelta64[", "period["))
    ):
        return value
    if kind == "interval" or kind.startswith("period["):
        (shown,) = _pandas_values(level, [value], _pandas())
        return str(shown)
    if kind.startswith("timedelta64["):
        (span,) = _pandas_values(level, [value], _pandas())
        return span.to_pytimedelta()
    if kind.startswith("datetime64["):
        (moment,) = _pandas_values(level, [value], _pandas())
        return moment.to_pydatetime(warn=False)
    plain = _untagged(value)
    return None if type(plain).__name__ in ("NaTType", "NAType") else plain


def _untagged(value: Any) -> Any:
    """The label that `_tagged` made JSON of."""
    if not isinstance(value, dict) or len(value) != 1:
        return value
    ((name, inner),) = value.items()
    if name == "tuple":
        return tuple(_untagged(part) for part in inner)
    if name == "text":
        return json.loads(inner)
    if name in ("int", "float"):
        return {"int": int, "float": float}[name](inner)
    return _TAGS[name][2](inner) if name in _TAGS else value


def _pandas() -> Any:
    return import_module("pandas")


_NAT = -(2**63)
# By the name of the class: the class where it is of the standard library, to JSON, and back. A subclass comes before
# its base; the classes of pandas are subclasses of `datetime` and `timedelta`.
_TAGS: dict[str, tuple[type | None, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "NaTType": (None, lambda v: True, lambda v: _pandas().NaT),
    "NAType": (None, lambda v: True, lambda v: _pandas().NA),
    "Timestamp": (
        None,
        lambda v: _level(_pandas().DatetimeIndex([v]), _pandas()),
        lambda v: _pandas_values(v, v["values"], _pandas())[0],
    ),
    "Timedelta": (
        None,
        lambda v: _level(_pandas().TimedeltaIndex([v]), _pandas()),
        lambda v: _pandas_values(v, v["values"], _pandas())[0],
    ),
    "Period": (
        None,
        lambda v: _level(_pandas().PeriodIndex([v]), _pandas()),
        lambda v: _pandas_values(v, v["values"], _pandas())[0],
    ),
    "Interval": (
        None,
        lambda v: _level(_pandas().IntervalIndex([v]), _pandas()),
        lambda v: _pandas_values(v, v["values"], _pandas())[0],
    ),
    "datetime": (dt.datetime, lambda v: v.isoformat(), dt.datetime.fromisoformat),
    "date": (dt.date, lambda v: v.isoformat(), dt.date.fromisoformat),
    "time": (dt.time, lambda v: v.isoformat(), dt.time.fromisoformat),
    "timedelta": (
        dt.timedelta,
        lambda v: [v.days, v.seconds, v.microseconds],
        lambda v: dt.timedelta(v[0], v[1], v[2]),
    ),
    "Decimal": (Decimal, str, Decimal),
    "uuid": (uuid.UUID, str, uuid.UUID),
    "path": (PurePath, str, PurePath),
    "bytes": (bytes, lambda v: base64.b64encode(v).decode(), base64.b64decode),
    "complex": (complex, lambda v: [v.real, v.imag], lambda v: complex(v[0], v[1])),
}
