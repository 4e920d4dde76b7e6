"""Labels of rows as JSON and back: exactly what they were."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest

from po_jupyter.client.inputs.row_labels import indexes_of, label_columns, pandas_index

BERLIN = "Europe/Berlin"
INDEXES: dict[str, Any] = {
    "one hour twice": pd.DatetimeIndex(["2026-10-25 00:30", "2026-10-25 01:30", None], tz="UTC").tz_convert(
        BERLIN
    ),
    "nanoseconds": pd.DatetimeIndex(np.array(["2026-01-01T00:00:00.123456789"] * 3, dtype="M8[ns]")),
    "seconds": pd.DatetimeIndex(np.array(["3000-01-01", "0100-01-01", "NaT"], dtype="M8[s]")),
    "objects of pandas": pd.Index(
        [pd.Timestamp("2026", tz=BERLIN), pd.Timedelta("1h"), pd.NaT], dtype=object, name=("n", 1)
    ),
    "more of them": pd.Index([pd.Period("2026-01", "M"), pd.Interval(0, 1), pd.NA], dtype=object),
    "objects of Python": pd.Index(
        [dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.time(1), dt.timedelta(1)], dtype=object
    ),
    "and more": pd.Index([uuid.UUID(int=3), PurePosixPath("a/b"), 1 + 2j], dtype=object),
    "and none": pd.Index([None, float("nan"), True], dtype=object),
    "half a character": pd.Index(["\ud800", "é", "\u2028"]),
    "the largest numbers": pd.Index([2**64 - 1, 1, 2], dtype="uint64"),
    "narrow numbers": pd.Index([1, 2, 3], dtype="float32"),
    "text that may be missing": pd.Index(["a", None, "c"], dtype="string"),
    "weeks": pd.PeriodIndex(["2026-01-01", "2026-02-01", None], freq="W-TUE"),
    "intervals of moments": pd.interval_range(pd.Timestamp("2026", tz=BERLIN), periods=3, closed="both"),
    "spans": pd.to_timedelta(["1D", None, "2h"]),
    "categories of months": pd.CategoricalIndex(pd.period_range("2026-01", periods=3, freq="M")),
    "categories of numbers": pd.CategoricalIndex([2, None, 1], categories=[2, 1, 0], ordered=True),
    "categories of truths": pd.CategoricalIndex([True, None, False]),
    "categories of intervals": pd.CategoricalIndex(pd.IntervalIndex.from_tuples([(0, 2), (1, 3), (2, 4)])),
    "levels of each kind": pd.MultiIndex.from_arrays(
        [pd.date_range("2026", periods=3, tz="UTC"), pd.CategoricalIndex(list("aba")), [3, "x", None]],
        names=["when", None, 3],
    ),
    "nothing": pd.Index([], dtype="str"),
}


def written(index: Any) -> tuple[Any, list[Any]]:
    """What a seed keeps, and its labels row by row."""
    kept = indexes_of({"rows": pd.Series(range(len(index)), index=index)})["rows"]
    spec = json.loads(json.dumps(kept, allow_nan=False))
    columns = [level["values"] for level in spec["levels"]]
    return spec, [list(row) for row in zip(*columns, strict=True)] if spec.get("multi") else columns[0]


def same(one: Any, other: Any) -> None:
    if isinstance(other, pd.MultiIndex):
        other = other.remove_unused_levels()
    pd.testing.assert_index_equal(one, other, exact=True)
    assert one.names == other.names
    # It takes values that are equal; these are of the same type as well.
    assert [type(v) for v in one] == [type(v) for v in other]


@pytest.mark.filterwarnings("ignore:assert_index_equal will check")
@pytest.mark.parametrize("kind", INDEXES)
def test_labels_come_back_as_they_were(kind: str) -> None:
    index = INDEXES[kind]
    spec, labels = written(index)
    same(pandas_index(spec, labels, range(len(labels))), index)
    if len(index):
        same(pandas_index(spec, [labels[2], labels[0]], [2, 0]), index[[2, 0]])
    assert {len(column) for column in label_columns(spec, labels).values()} == {len(index)}


def test_moments_of_a_zone_that_has_no_name_join_all_the_same() -> None:
    dateutil = pytest.importorskip("dateutil.tz", reason="comes with pandas: pip install pandas")
    index = pd.DatetimeIndex(["2026-01-01"], tz=dateutil.gettz(BERLIN))
    spec, labels = written(index)
    assert (pandas_index(spec, labels, [0]) == index).all()


def test_very_many_categories_become_plain_labels() -> None:
    index = pd.CategoricalIndex([f"c{i}" for i in range(2000)])
    spec, labels = written(index)
    assert spec["levels"][0]["type"] != "category"
    assert list(pandas_index(spec, labels, range(2000))) == list(index)


def test_a_type_that_is_not_known_here_gives_plain_labels() -> None:
    """The kernel that reads need not be the one that wrote."""
    spec = {"levels": [{"name": "id", "type": "string[of another version]"}]}
    index = pandas_index(spec, ["a", "b"], [0, 1])
    assert (list(index), index.name) == (["a", "b"], "id")


def test_columns_of_labels_have_names_of_their_own() -> None:
    index = pd.MultiIndex.from_tuples([("a", 1)], names=["x", "x"])
    assert label_columns(*written(index)) == {"x": ["a"], "x_1": [1]}
