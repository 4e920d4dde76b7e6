"""Labels of a map's rows: what the table that was the seed calls them, read from the seed's index."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Any, NotRequired, TypedDict

from po_jupyter.model.pipeline.votes import agreement
from po_jupyter.model.run.row_file_ref import refs_in
from po_jupyter.model.run.row_index import RANGE
from po_jupyter.model.run.scores import RowScores
from po_jupyter.model.values.json import JsonObject
from po_jupyter.store.files.row_files import RowFiles
from po_jupyter.store.protocol import Head, ItemRecord

_KEPT = 16  # indexes


class LabelledRow(TypedDict):
    """A row of a map.

    `row` is where in its list of the seed it is, unless that is its index; `label` is what the seed's table calls it,
    in the index of the list `of` (`seed.index[of]`). A group has `rows` instead, the numbers or the labels of its rows.
    Rows that an operator made have `columns` besides their output. `agreement` is the part of the votes for its output
    that agree, `votes` how many were asked for; both only where there was a vote. `scores` only where its task is
    scored, `variant` only where it has some.
    """

    index: int
    row: NotRequired[int]
    variant: NotRequired[str]
    rows: NotRequired[list[Any]]
    columns: NotRequired[JsonObject]
    of: NotRequired[str]
    label: NotRequired[Any]
    agreement: NotRequired[float]
    votes: NotRequired[int]
    scores: NotRequired[RowScores]


def add_votes(row: LabelledRow, item: ItemRecord) -> None:
    """Add to a row how the votes for it came out, where there was a vote."""
    if (count := item.get("votes")) is not None:
        row["agreement"], row["votes"] = round(agreement(count), 6), count["asked"]


def add_scores(row: LabelledRow, item: ItemRecord) -> None:
    """Add to a row how good its answer is, where that was scored."""
    if (scores := item.get("scores")) is not None:
        row["scores"] = scores


def add_variants(rows: Iterable[LabelledRow], variants: Iterable[str] | None) -> None:
    """Add to rows which of the variants of their task each is about; nothing where it has none."""
    names = list(variants or ())
    for row in rows if names else ():
        row["variant"] = names[row["index"] % len(names)]


class RowLabels:
    """Adds labels to rows. Blocks on the disk: call it in a thread. Safe for several threads."""

    def __init__(self, files: RowFiles, seed: Callable[[str], Mapping[str, Any]]) -> None:
        """`files` has labels that are in files of rows; `seed` reads the seed of a run."""
        self._files = files
        self._seed = seed
        self._lock = Lock()
        self._indexes: OrderedDict[tuple[str, str], _Index | None] = OrderedDict()

    def add(self, head: Head, path: str | None, rows: Iterable[LabelledRow]) -> None:
        """Label the rows of a map, which are rows of the list `path` of the seed (None: of no list)."""
        index = None if path is None else self._index(head, path)
        if index is None or path is None:
            return
        for row in rows:
            if "rows" in row:
                row["rows"] = [index.label(place) for place in row["rows"]]
                continue
            row["of"], row["label"] = path, index.label(row.get("row", row["index"]))

    def _index(self, head: Head, path: str) -> _Index | None:
        key = head["run"], path
        with self._lock:
            if key in self._indexes:
                self._indexes.move_to_end(key)
                return self._indexes[key]
        labels = (self._seed(head["run"]).get("index") or {}).get(path)
        index = None if labels is None else _Index(self._files, head["owner"], labels)
        with self._lock:
            self._indexes[key] = index
            while len(self._indexes) > _KEPT:
                self._indexes.popitem(last=False)
        return index


class _Index:
    """One index of a seed."""

    def __init__(self, files: RowFiles, owner: str, labels: Mapping[str, Any]) -> None:
        self._multi = bool(labels.get("multi"))
        self._levels = [_values(files, owner, level) for level in labels["levels"]]

    def label(self, place: int) -> Any:
        """The label of a row: one value, or with several levels a list."""
        parts = [level[place] if 0 <= place < len(level) else None for level in self._levels]
        return parts if self._multi else parts[0]


def _values(files: RowFiles, owner: str, level: Mapping[str, Any]) -> Sequence[Any]:
    if RANGE in level:
        return range(*level[RANGE])
    for _, ref in refs_in({"values": level["values"]}):
        return files.rows(owner, ref)
    values: list[Any] = level["values"]
    return values
