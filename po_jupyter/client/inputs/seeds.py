"""What a person gives as the seed, made into the envelope `{name, data}`.

The value is the seed's *data*: a dict is taken as it is, a list or a DataFrame becomes `{"rows": [...]}`,
nothing becomes `{}`. Only a `Seed` is an envelope already.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import uuid
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel

from po_jupyter.errors import InvalidSeed, Violation
from po_jupyter.model.run.seed import Seed

_MAX_SHOWN = 10


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
    rows = _rows_of(value)
    if rows is not None:
        return Seed(name=name, data=_plain_object({"rows": rows}))
    if isinstance(value, Mapping):
        return Seed(name=name, data=_plain_object(value))
    if isinstance(value, BaseModel):
        return Seed(name=name, data=_plain_object(value.model_dump(mode="json")))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return Seed(name=name, data=_plain_object(dataclasses.asdict(value)))
    raise InvalidSeed(
        f"a seed is a dict, a list of rows or a DataFrame, not {type(value).__name__}",
        hint='For example {"text": ...}; templates see it as {{ seed.text }}.',
    )


def _rows_of(value: Any) -> list[Any] | None:
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return list(value)
    if hasattr(value, "to_dicts"):  # polars
        return list(value.to_dicts())
    if hasattr(value, "iloc") and hasattr(value, "columns"):  # pandas
        rows: list[Any] = value.to_dict(orient="records")
        return rows
    if hasattr(value, "iloc") and hasattr(value, "tolist"):  # a pandas Series
        return list(value.tolist())
    if hasattr(value, "to_list") and hasattr(value, "dtype"):  # a polars Series
        return list(value.to_list())
    return None


def _missing(cell: Any) -> bool:
    if isinstance(cell, float):
        return math.isnan(cell)
    return type(cell).__name__ in {"NaTType", "NAType"}


def _plain_object(data: Mapping[Any, Any]) -> dict[str, Any]:
    wrong: list[Violation] = []
    plain = _plain(data, "seed", wrong, 0)
    if wrong:
        more = len(wrong) - _MAX_SHOWN
        raise InvalidSeed(
            "the seed holds values that JSON cannot:",
            violations=wrong[:_MAX_SHOWN],
            hint=(f"And {more} more. " if more > 0 else "")
            + "Turn them into text, numbers, lists or dicts first.",
        )
    assert isinstance(plain, dict)
    return plain


def _plain(value: Any, where: str, wrong: list[Violation], depth: int) -> Any:
    if value is None or isinstance(value, bool | str) or type(value) is int:
        return value
    if depth > 100:
        wrong.append(Violation(where, "it is nested more than 100 deep, or holds itself"))
        return None
    if isinstance(value, Enum):
        return _plain(value.value, where, wrong, depth + 1)
    if isinstance(value, int):
        return int(value)
    if _missing(value):
        return None
    if isinstance(value, float):
        if not math.isfinite(value):
            wrong.append(Violation(where, f"{value} is not a JSON number"))
            return None
        return float(value)
    if isinstance(value, Mapping):
        out: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str | int | float | bool | None):
                wrong.append(Violation(where, f"the key {key!r:.40} is {type(key).__name__}, not text"))
                continue
            name = key if isinstance(key, str) else json.dumps(key)  # what json would make of it
            out[name] = _plain(item, f"{where}.{name}", wrong, depth + 1)
        return out
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]", wrong, depth + 1) for i, item in enumerate(value)]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, PurePath | uuid.UUID):
        return str(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value), where, wrong, depth + 1)
    rows = _rows_of(value)
    if rows is not None:
        return _plain(rows, where, wrong, depth + 1)
    if type(value).__name__ == "datetime64":  # numpy's own would become a number of nanoseconds
        return None if str(value) == "NaT" else str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist(), where, wrong, depth + 1)
    wrong.append(Violation(where, f"{type(value).__name__} is not JSON"))
    return None
