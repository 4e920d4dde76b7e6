"""The frames of a notebook as seeds of the panel's form."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from po_jupyter.kernel import live_values
from po_jupyter.kernel.live_values import MIME, frames_in, seed_from

pandas = pytest.importorskip("pandas")
numpy = pytest.importorskip("numpy")


class Unkind:
    """An object of a notebook whose attributes raise."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    @property
    def __class__(self) -> Any:
        raise RuntimeError("class")


def test_the_frames_of_a_namespace() -> None:
    namespace = {
        "tickets": pandas.DataFrame({"text": ["a", "b"], "id": [1, 2]}), "_": pandas.DataFrame({"x": [1]}),
        "wide": pandas.DataFrame({f"c{n}": [n] for n in range(80)}), "n": 1, "unkind": Unkind(),
        "series": pandas.Series([1]), "many": pandas.DataFrame([[1]], columns=[3]),
    }  # fmt: skip
    many, tickets, wide = frames_in(namespace).values["frames"]
    assert tickets == {"name": "tickets", "library": "pandas", "rows": 2, "columns": ["text", "id"], "width": 2}
    assert many["columns"] == ["3"]
    assert (wide["width"], len(wide["columns"])) == (80, 50)
    assert frames_in({}).values == {"frames": []}


def test_frames_of_polars() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"text": ["a"]})
    (found,) = frames_in({"frame": frame}).values["frames"]
    assert (found["library"], found["rows"], found["columns"]) == ("polars", 1, ["text"])
    assert seed_from({"frame": frame}, "frame", "rows").values == {"data": {"rows": [{"text": "a"}]}}


def test_a_frame_is_converted_as_the_client_does_it() -> None:
    """P4: dates are text, what is missing is null, the index is kept beside the rows."""
    frame = pandas.DataFrame(
        {"at": pandas.to_datetime(["2026-01-02", None]), "n": [1.5, None]},
        index=pandas.Index(["x", "y"], name="key"),
    )
    found = seed_from({"f": frame}, "f", "tickets").values
    assert found["data"] == {"tickets": [{"at": "2026-01-02T00:00:00", "n": 1.5}, {"at": None, "n": None}]}
    assert found["index"]["tickets"]["levels"][0]["values"] == ["x", "y"]
    json.dumps(found)


@pytest.mark.parametrize(
    ("namespace", "message"),
    [
        ({}, "no DataFrame 'f' any more"),
        ({"f": 3}, "no DataFrame 'f' any more"),
        ({"f": pandas.DataFrame({"a": range(50_001)})}, "50,001 rows"),
        ({"f": pandas.DataFrame({"a": ["x" * 1000] * 10_000})}, "larger than the 8 MB"),
        ({"f": pandas.DataFrame({"a": [object()]})}, "values that JSON cannot"),
        ({"f": pandas.DataFrame([[1, 2]], columns=["a", "a"])}, "two of its columns"),
    ],
)
def test_what_does_not_go_is_said(namespace: dict[str, Any], message: str) -> None:
    error = seed_from(namespace, "f", "rows").values["error"]
    assert error["code"] == "invalid_seed"
    assert message in str(error)


def test_names_of_a_namespace_may_be_anything() -> None:
    namespace: Any = {1: 2, "frame": pandas.DataFrame({"a": [1]})}
    assert [frame["name"] for frame in frames_in(namespace).values["frames"]] == ["frame"]


def test_a_frame_that_is_too_wide_is_not_converted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """50,000 rows of 10,000 columns would take the kernel's memory before they are refused."""
    converted: list[int] = []

    def seed_of(data: Any, name: str) -> Any:
        converted.append(data["rows"].size)
        return SimpleNamespace(data={}, index=None)

    monkeypatch.setattr(live_values, "seed_of", seed_of)
    wide = pandas.DataFrame(numpy.zeros((1000, 2000), "int8"))
    assert "larger than the 8 MB" in str(seed_from({"f": wide}, "f", "rows").values["error"])
    assert sum(converted) == 0


def test_a_kernel_shows_it_as_json_and_nothing_comes_into_the_namespace() -> None:
    """As the panel evaluates it: user expressions, silently."""
    shell = InteractiveShell()
    shell.user_ns["frame"] = pandas.DataFrame({"a": [1]})
    before = set(shell.user_ns)
    module = live_values.__name__
    look = f"__import__('{module}', fromlist=['frames_in'])"
    found = shell.user_expressions({"frames": f"{look}.frames_in(globals())", "wrong": "nobody.knows"})
    assert found["frames"]["data"][MIME]["frames"][0]["name"] == "frame"
    assert found["wrong"]["status"] == "error"
    assert set(shell.user_ns) == before
