"""Plain JSON: the one notation of seeds and outputs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import pathlib
import types
import uuid
from collections import ChainMap, OrderedDict, namedtuple
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel

from po_jupyter.client.inputs.seeds import seed_of
from po_jupyter.engine.base.json_values import NotJson, as_json
from po_jupyter.errors import InvalidSeed
from po_jupyter.model.values.plain_json import PlainJson


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    YES = "yes"


@dataclasses.dataclass
class Point:
    x: Any
    at: dt.date


class Ticket(BaseModel):
    due: dt.date
    price: decimal.Decimal


Pair = namedtuple("Pair", "a b")
UID = uuid.UUID("12345678-1234-5678-1234-567812345678")
DAY = dt.date(2026, 1, 2)
VALUES: dict[str, tuple[Any, Any]] = {
    "a date": (DAY, "2026-01-02"),
    "a datetime": (dt.datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),
    "a datetime with a zone": (dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02T00:00:00+00:00"),
    "a time": (dt.time(3, 4), "03:04:00"),
    "a duration": (dt.timedelta(days=1, seconds=2), "P1DT2S"),
    "a Timedelta": (pd.Timedelta(hours=1), "PT1H"),
    "a timedelta64": (np.timedelta64(90, "s"), "PT1M30S"),
    "a timedelta64 in ns": (np.timedelta64(1_000_000_000, "ns"), "PT1S"),
    "a Timestamp": (pd.Timestamp("2026-01-02 03:04"), "2026-01-02T03:04:00"),
    "a datetime64": (np.datetime64("2026-01-02"), "2026-01-02"),
    "an array of datetime64": (np.array(["2026-01-02"], "datetime64[D]"), ["2026-01-02"]),
    "an array of timedelta64": (np.array([1], "timedelta64[s]"), ["PT1S"]),
    "NaN": (float("nan"), None),
    "NaN of numpy": (np.float32("nan"), None),
    "NaT": (pd.NaT, None),
    "NaT of numpy": (np.datetime64("NaT", "D"), None),
    "NaT as timedelta64": (np.timedelta64("NaT", "s"), None),
    "NA": (pd.NA, None),
    "a Decimal": (decimal.Decimal("1.50"), "1.50"),
    "a Decimal NaN": (decimal.Decimal("NaN"), None),
    "a UUID": (UID, str(UID)),
    "a path": (pathlib.PurePosixPath("a/b"), "a/b"),
    "an enum": (Color.RED, "red"),
    "an IntEnum": (Level.HIGH, 3),
    "a StrEnum": (Word.YES, "yes"),
    "a dataclass": (Point(np.int64(1), DAY), {"x": 1, "at": "2026-01-02"}),
    "a dataclass in a dataclass": (
        Point(Point(1, DAY), DAY),
        {"x": {"x": 1, "at": "2026-01-02"}, "at": "2026-01-02"},
    ),
    "a model": (Ticket(due=DAY, price="1.5"), {"due": "2026-01-02", "price": "1.5"}),
    "models in a list": ([Ticket(due=DAY, price="1.5")], [{"due": "2026-01-02", "price": "1.5"}]),
    "a named tuple": (Pair(1, 2), [1, 2]),
    "an ordered dict": (OrderedDict(a=1), {"a": 1}),
    "a mapping": (types.MappingProxyType({"a": (1,)}), {"a": [1]}),
    "a chain map": (ChainMap({"a": 1}), {"a": 1}),
    "an array": (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    "an array of floats": (np.array([1.5, np.nan]), [1.5, None]),
    "an array without dimensions": (np.array(3), 3),
    "a bool of numpy": (np.bool_(True), True),
    "an int of numpy": (np.uint8(3), 3),
    "a long double": (np.longdouble(1.5), 1.5),
    "a text of numpy": (np.str_("é"), "é"),
    "a frame": (
        pd.DataFrame({"a": [1, 2], "d": [DAY, None]}),
        [{"a": 1, "d": "2026-01-02"}, {"a": 2, "d": None}],
    ),
    "a month": (pd.Period("2026-01", "M"), "2026-01"),
    "a column of pandas.cut": (
        pd.DataFrame({"a": pd.cut([1, np.nan], [0, 1])}),
        [{"a": "(0.0, 1.0]"}, {"a": None}],
    ),
    "a frame of durations": (pd.DataFrame({"a": [pd.Timedelta(1, "h"), pd.NaT]}), [{"a": "PT1H"}, {"a": None}]),
    "a frame with numbers as names": (pd.DataFrame([[1, 2]]), [{"0": 1, "1": 2}]),
    "a series": (pd.Series([1.5, None]), [1.5, None]),
    "a series of times": (pd.Series([pd.Timestamp("2026-01-02"), pd.NaT]), ["2026-01-02T00:00:00", None]),
    "an index": (pd.Index(["a"]), ["a"]),
    "a frame of polars": (
        pl.DataFrame({"a": [1, None], "p": [decimal.Decimal("1.5"), None], "t": [dt.timedelta(1), None]}),
        [{"a": 1, "p": "1.5", "t": "P1D"}, {"a": None, "p": None, "t": None}],
    ),
    "a series of polars": (pl.Series([DAY]), ["2026-01-02"]),
    "keys that are numbers": ({1: 0, 2.5: 0, False: 0, None: 0}, {"1": 0, "2.5": 0, "false": 0, "null": 0}),
    "keys of numpy": ({np.int64(1): 2}, {"1": 2}),
    "keys that are dates": ({DAY: 1}, {"2026-01-02": 1}),
    "keys of an enum": ({Word.YES: 1, Color.RED: 2}, {"yes": 1, "red": 2}),
    "a large integer": (10**3000, 10**3000),
}
REFUSED: dict[str, Any] = {
    "infinity": float("inf"),
    "infinity in an array": np.array([np.inf]),
    "an infinite Decimal": decimal.Decimal("Infinity"),
    "bytes": b"x",
    "a set": {1},
    "a generator": (i for i in ()),
    "an object": object(),
    "a class": Ticket,
    "a complex number": 1j,
    "a complex number of numpy": np.complex64(1),
    "half a surrogate pair": "\ud800",
    "half a surrogate pair in a key": {"\udc00": 1},
    "half a surrogate pair in a subclass": np.str_("\ud800"),
    "half a surrogate pair in an enum": enum.Enum("Half", {"A": "\ud800"}).A,
    "a huge integer": 10**6000,
    "a huge negative integer": -(10**6000),
    "keys that become one": {1: 2, "1": 3},
    "a key that is a tuple": {(1, 2): 3},
    "columns of one name": pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "columns that become one": pd.DataFrame([[1, 2]], columns=[1, "1"]),
    "a month as timedelta64": np.timedelta64(1, "M"),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_seeds_take_outputs_take_in_the_same_notation(name: str) -> None:
    """A8."""
    value, plain = VALUES[name]
    seed = seed_of({"x": value}, "t").data["x"]
    output = as_json({"x": value})["x"]
    assert json.dumps(seed) == json.dumps(output) == json.dumps(plain)
    assert type(output) is type(plain)
    assert as_json(value) == plain  # alone as well


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_never_be_read_is_refused_by_both(name: str) -> None:
    """A8: with its place, and nothing is lost in silence."""
    with pytest.raises(InvalidSeed, match=r"seed\.x"):
        seed_of({"x": REFUSED[name]}, "t")
    with pytest.raises(NotJson) as caught:
        as_json({"x": REFUSED[name]})
    assert "x" in caught.value.path


def test_what_is_json_already_is_the_same_object() -> None:
    value = {"a": [1, 1.5, None, True, "é", {"b": []}]}
    assert as_json(value) is value


def test_what_holds_itself_ends() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(NotJson, match="nested deeper than 100"):
        as_json(ring)


class Dataset:
    """As far as a Dataset of Hugging Face matters here."""

    column_names: ClassVar[list[str]] = ["text"]

    def to_list(self) -> list[dict[str, object]]:
        return [{"text": "a", "day": DAY}]


class Relation:
    """As far as a relation of DuckDB matters here."""

    def __init__(self, *columns: str) -> None:
        self.columns = list(columns)

    def fetchall(self) -> list[tuple[object, ...]]:
        return [(decimal.Decimal("1.5"), float("nan"))]

    def limit(self, n: int) -> None: ...


def test_tables_of_other_packages_are_lists_of_rows() -> None:
    made = PlainJson()
    assert made.value({"a": Dataset(), "b": Relation("x", "y")}) == {
        "a": [{"text": "a", "day": "2026-01-02"}], "b": [{"x": "1.5", "y": None}],
    }  # fmt: skip
    assert made.refused == []
    made.value(Relation("x", "x"), "t")
    assert "two of its columns are called 'x'" in made.refused[0].message
