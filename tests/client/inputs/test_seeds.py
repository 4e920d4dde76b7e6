"""DESIGN Cells: EXPR is the seed's data, wrapped in an envelope unless it is a Seed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import uuid
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

from po_jupyter.client.inputs.seeds import seed_of
from po_jupyter.errors import InvalidSeed
from po_jupyter.model.run.seed import Seed


class Model(BaseModel):
    text: str


@dataclasses.dataclass
class Plain:
    text: str


class Polars:
    """As far as a polars DataFrame matters here."""

    def to_dicts(self) -> list[dict[str, Any]]:
        return [{"a": 1}]


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (None, {}),
        ({"text": "x"}, {"text": "x"}),
        ({"name": "n", "data": {}}, {"name": "n", "data": {}}),  # a dict is data, also one like an envelope
        ([1, 2], {"rows": [1, 2]}),
        (({"a": 1},), {"rows": [{"a": 1}]}),
        (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), {"rows": [{"a": 1, "b": "x"}, {"a": 2, "b": None}]}),
        (pd.DataFrame({"a": [1.5, float("nan")]}), {"rows": [{"a": 1.5}, {"a": None}]}),
        (
            pd.DataFrame({"t": [pd.Timestamp("2026-01-02"), pd.NaT]}),
            {"rows": [{"t": "2026-01-02T00:00:00"}, {"t": None}]},
        ),
        (pd.Series([1, 2]), {"rows": [1, 2]}),
        (Polars(), {"rows": [{"a": 1}]}),
        (Model(text="x"), {"text": "x"}),
        (Plain("x"), {"text": "x"}),
        ({"day": dt.date(2026, 1, 2), "at": Path("a/b")}, {"day": "2026-01-02", "at": "a/b"}),
        ({"frame": pd.DataFrame({"a": [1]})}, {"frame": [{"a": 1}]}),
        ({"n": pd.Series([3])[0], "array": pd.Series([1, 2]).to_numpy()}, {"n": 3, "array": [1, 2]}),
        ({2: "a", True: "b", None: "c"}, {"2": "a", "true": "b", "null": "c"}),
    ],
)
def test_a_value_becomes_the_data(value: Any, data: dict[str, Any]) -> None:
    """The name is the pipeline's; what comes out is JSON."""
    seed = seed_of(value, "tickets")
    assert seed == Seed(name="tickets", data=data)
    assert json.loads(json.dumps(seed.data, allow_nan=False)) == data


def test_a_seed_is_an_envelope_already() -> None:
    """Its own name stays."""
    assert seed_of(Seed(name="mine", data={"a": 1}), "tickets").name == "mine"


def test_what_json_cannot_hold_is_named_by_its_place() -> None:
    """P11: every place at once, nothing is sent."""
    ring: dict[str, Any] = {}
    ring["self"] = ring
    with pytest.raises(InvalidSeed) as caught:
        seed_of({"rows": [{"a": object()}, {"b": float("inf")}], "f": {("x", 1): 2}, "ring": ring}, "t")
    text = str(caught.value)
    assert "seed.rows[0].a: object is not JSON" in text
    assert "seed.rows[1].b: inf is not a JSON number" in text
    assert "tuple" in text
    assert "holds itself" in text


@pytest.mark.parametrize("value", ["text", 3, object(), Model])
def test_other_values_are_refused_with_an_example(value: Any) -> None:
    """P11."""
    with pytest.raises(InvalidSeed, match="a dict, a list of rows or a DataFrame"):
        seed_of(value, "t")


def test_frames_of_polars() -> None:
    import polars as pl

    frame = pl.DataFrame({"a": [1, None], "d": [dt.date(2026, 1, 2), None], "f": [1.5, float("nan")]})
    rows = [{"a": 1, "d": "2026-01-02", "f": 1.5}, {"a": None, "d": None, "f": None}]
    assert seed_of(frame, "t").data == {"rows": rows}
    assert seed_of({"column": frame["a"]}, "t").data == {"column": [1, None]}


def test_values_of_numpy_and_their_kin() -> None:
    """NaN, NaT and NA say that there is no value; what has a plain form gets it."""
    import numpy as np

    uid = uuid.uuid4()
    given = {
        "f": np.float32(1.5),
        "nan": np.float32("nan"),
        "none": [float("nan"), pd.NaT, pd.NA, np.datetime64("NaT", "ns")],
        "at": np.datetime64("2026-01-02T03:04:05.123456789"),
        "b": np.bool_(True),
        "i": np.int64(3),
        "id": uid,
    }
    assert seed_of(given, "t").data == {
        "f": 1.5,
        "nan": None,
        "none": [None] * 4,
        "at": "2026-01-02T03:04:05.123456789",
        "b": True,
        "i": 3,
        "id": str(uid),
    }


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"x", "bytes"),
        ({1}, "set"),
        (1j, "complex"),
    ],
)
def test_what_has_no_plain_form_is_named(value: Any, said: str) -> None:
    """P11: the place and the type."""
    with pytest.raises(InvalidSeed, match=rf"seed\.rows\[1\]\.a: {said} is not JSON"):
        seed_of([{"a": 1}, {"a": value}], "t")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "seed.rows: two of its columns are called 'a'"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "seed.rows: two of its columns are called '1'"),
        (
            {"t": {"x": pd.DataFrame([[1, 2]], columns=["a", "a"])}},
            "seed.t.x: two of its columns are called 'a'",
        ),
        ([{"a": 1, 1: 2, "1": 3}], "seed.rows[0]: two of its keys are '1' in JSON"),
        ({True: 1, "true": 2}, "seed: two of its keys are 'true' in JSON"),
        ({None: 1, "null": 2}, "seed: two of its keys are 'null' in JSON"),
        (
            pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])),
            "seed.rows: its column ('a', 'b') is named by a tuple, not by text",
        ),
        (
            pd.DataFrame({"a": [1]}, index=[object()]),
            "the index of seed.rows holds object, which cannot be kept",
        ),
        ({"t": pd.Series([1], index=[{1}.__class__])}, "the index of seed.t holds type, which cannot be kept"),
    ],
)
def test_what_would_lose_a_column_a_key_or_a_label_is_refused(value: Any, says: str) -> None:
    """One of two values of one name was dropped in silence."""
    with pytest.raises(InvalidSeed) as caught:
        seed_of(value, "t")
    assert says in str(caught.value)


def test_only_an_index_that_says_something_is_kept() -> None:
    """A table as it was made, a list and a table of polars number their rows."""
    import polars as pl

    for value in (
        pd.DataFrame({"a": [1, 2]}),
        pd.Series([1]),
        [1, 2],
        pl.DataFrame({"a": [1]}),
        {"a": [1]},
        None,
    ):
        assert seed_of(value, "t").index is None
    shuffled = seed_of({"t": pd.DataFrame({"a": [1, 2]}).iloc[::-1]}, "t")
    assert shuffled.index == {"t": {"library": "pandas", "levels": [{"type": "range", "range": [1, -1, -1]}]}}
    ring: dict[str, Any] = {"t": pd.Series([1], index=["x"])}
    with pytest.raises(InvalidSeed, match="holds itself"):
        seed_of({"a": ring, "b": ring | {"ring": ring}, "c": _ring(ring)}, "t")


def _ring(inside: dict[str, Any]) -> dict[str, Any]:
    ring: dict[str, Any] = {"inside": inside}
    ring["self"] = ring
    return ring
