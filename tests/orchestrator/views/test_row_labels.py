"""Labels of rows: what the table that was the seed calls them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from po_jupyter.model.run.row_file_ref import RowFileRef
from po_jupyter.orchestrator.views.row_labels import RowLabels
from po_jupyter.store.files.row_files import RowFiles
from tests.store.files.test_row_files import digest, keep

INDEX = {"rows": {"levels": [{"type": "object", "values": ["a", "b", "c"]}]}}


class Rig:
    """Labels of runs that all have this index; `reads` counts how often a seed was read."""

    def __init__(self, tmp: Path, index: Mapping[str, Any] | None = None) -> None:
        self.reads = 0
        self.index = index
        self.labels = RowLabels(RowFiles(tmp), self.seed)

    def seed(self, run: str) -> Mapping[str, Any]:
        self.reads += 1
        return {"name": "s", "data": {}, **({} if self.index is None else {"index": self.index})}

    def label(self, *rows: Any, path: str | None = "rows", run: str = "r", owner: str = "me") -> list[Any]:
        head: Any = {"run": run, "owner": owner}
        labelled = [dict(row) for row in rows]
        self.labels.add(head, path, labelled)
        return labelled


def test_a_row_has_the_label_of_its_place_in_the_table(tmp_path: Path) -> None:
    """`row` is where it is there, where the map has another order."""
    rig = Rig(tmp_path, INDEX)
    first, second, beyond = rig.label({"index": 0}, {"index": 1, "row": 2}, {"index": 7, "row": -1})
    assert first == {"index": 0, "of": "rows", "label": "a"}
    assert second == {"index": 1, "row": 2, "of": "rows", "label": "c"}
    assert beyond["label"] is None, "not the last one's"


@pytest.mark.parametrize("path", [None, "other"])
def test_rows_of_no_table_get_no_label(tmp_path: Path, path: str | None) -> None:
    assert Rig(tmp_path, INDEX).label({"index": 0}, path=path) == [{"index": 0}]
    assert Rig(tmp_path).label({"index": 0}, path=path) == [{"index": 0}]


def test_several_levels_are_a_list_and_a_range_is_counted(tmp_path: Path) -> None:
    levels = [{"type": "range", "range": [10, 40, 10]}, {"type": "object", "values": ["x", "y", "z"]}]
    rig = Rig(tmp_path, {"rows": {"multi": True, "levels": levels}})
    assert [row["label"] for row in rig.label({"index": 0}, {"index": 2})] == [[10, "x"], [30, "z"]]
    one = Rig(tmp_path, {"rows": {"multi": True, "levels": levels[:1]}})
    assert one.label({"index": 1})[0]["label"] == [20], "one level of several kinds of labels stays one"


def test_labels_may_be_in_a_file_of_their_owner(tmp_path: Path) -> None:
    """P6: nobody else's hash opens it."""
    text = b'"x"\n"y"\n'
    keep(RowFiles(tmp_path), text)
    values = RowFileRef(digest(text), 2).to_json()
    rig = Rig(tmp_path, {"rows": {"levels": [{"type": "object", "values": values}]}})
    assert [row["label"] for row in rig.label({"index": 0}, {"index": 1})] == ["x", "y"]
    with pytest.raises(Exception, match="rows of this seed"):
        rig.label({"index": 0}, run="another", owner="somebody else")


def test_a_seed_is_read_once_for_many_pages(tmp_path: Path) -> None:
    """The seeds of the 16 runs read last are enough for those who look at them."""
    for index in (INDEX, None):
        rig = Rig(tmp_path, index)
        rig.label({"index": 0})
        for i in range(15):
            rig.label({"index": 0}, run=f"r{i}")
            rig.label({"index": 0})
        assert rig.reads == 16
        rig.label({"index": 0}, run="one more")
        rig.label({"index": 0})
        assert rig.reads == 17
        rig.label({"index": 0}, run="r0")
        assert rig.reads == 18, "the one that was not looked at for longest was dropped"
