"""Indexes of a seed's rows: what is taken, and what is refused before anything starts."""

from __future__ import annotations

from typing import Any

import pytest

from po_jupyter.errors import InvalidSeed
from po_jupyter.model.run.row_index import keys_of, left_behind, levels_of, row_path, without_values
from po_jupyter.model.run.seed import read_seed

RUN = "0123456789abcdef012345"


def seed(index: Any, **data: Any) -> Any:
    return read_seed({"name": "s", "data": {"rows": ["a", "b"], **data}, "index": index})


@pytest.mark.parametrize(
    "index",
    [
        {"rows": {"levels": [{"type": "str", "values": ["x", "y"]}]}},
        {"rows": {"levels": [{"type": "range", "range": [4, 0, -2]}]}},
        {"rows": {"levels": [{"type": "str", "values": {"$rows": "a" * 64, "count": 2}}], "multi": True}},
        {"in/side": {"levels": [{"type": "str", "values": ["x"]}]}},
        {left_behind("gone", RUN): {"levels": [{"type": "str", "values": ["x"]}]}},
        {},
    ],
)
def test_an_index_has_a_label_for_each_row(index: Any) -> None:
    assert seed(index, **{"in": {"side": [1]}}).index == index


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ({"rows": {"levels": [{"type": "str", "values": ["x"]}]}}, "`rows` has 1 labels for 2 rows"),
        ({"rows": {"levels": [{"type": "range", "range": [0, 3, 1]}]}}, "`rows` has 3 labels for 2 rows"),
        ({"rows": {"levels": [{"type": "range", "range": [0, 2, 0]}]}}, "a level of `rows`"),
        ({"rows": {"levels": [{"type": "range", "range": [0, 2**70, 1]}]}}, "a level of `rows`"),
        ({"rows": {"levels": [{"values": ["x", "y"]}]}}, "a level of `rows`"),
        ({"rows": {"levels": [{"type": "str", "values": {"$rows": "no", "count": 2}}]}}, "a level of `rows`"),
        ({"rows": {"levels": []}}, "needs `levels`"),
        ({"rows": 3}, "needs `levels`"),
        ({"lines": {"levels": [{"type": "str", "values": []}]}}, "`lines` is no list in `data`"),
        (3, "index"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(index: Any, says: str) -> None:
    with pytest.raises(InvalidSeed) as caught:
        seed(index)
    assert says in str(caught.value)


def test_a_path_says_the_keys_of_its_list() -> None:
    keys = ("a/b", "c~d", "")
    assert keys_of(row_path(keys)) == keys
    assert left_behind(left_behind("rows", RUN), "f" * 22) == f"{RUN}:rows", "of the run that had it"


def test_lists_of_runs_have_the_index_without_its_labels() -> None:
    index = {"rows": {"library": "pandas", "levels": [{"name": "id", "type": "str", "values": ["x", "y"]}]}}
    assert without_values(index) == {"rows": {"library": "pandas", "levels": [{"name": "id", "type": "str"}]}}
    assert list(levels_of(index)) == [("rows", {"name": "id", "type": "str", "values": ["x", "y"]})]
    assert list(levels_of(None)) == []
