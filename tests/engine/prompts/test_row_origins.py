"""Which rows of the seed a map works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from po_jupyter.engine.prompts.row_origins import RowOrigin, find_origin
from po_jupyter.engine.prompts.templates import RowsExpression, template_names
from po_jupyter.model.values.lazy_list import LazyList

ROWS = [{"text": t, "n": n, "tags": [t], "of": {"in": t}} for n, t in enumerate(["c", "a", "c", "b"])]


class Lazy(LazyList):
    """Rows that are another object each time, as those of a file."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = rows
        self.reads = 0

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int) -> Any:
        self.reads += 1
        row = self._rows[index]
        return dict(row) if isinstance(row, dict) else row


def origin(expression: str, **seed: Any) -> RowOrigin | None:
    outputs = Lazy([{"index": i, "ok": i != 1, "output": {"x": i}, "error": None} for i in range(3)])
    of = {"earlier": RowOrigin("rows", [3, 1, 0]), "same": RowOrigin("rows")}
    names = template_names(
        seed={
            "rows": ROWS,
            "lazy": Lazy(ROWS),
            "nested": {"texts": ["x", "x", "y"]},
            "numbers": [5, 1, 5, 3],
            **seed,
        },
        tasks={"earlier": outputs, "same": outputs, "other": outputs},
        config={},
    )
    rows = RowsExpression("{{ " + expression + " }}", task="t").evaluate(names)
    return find_origin(expression, names, rows, of.get)


@pytest.mark.parametrize(
    ("expression", "path", "places"),
    [
        ("seed.rows", "rows", None),
        ('seed["rows"]', "rows", None),
        ("seed.nested.texts", "nested/texts", None),
        ("seed.rows | list", "rows", None),
        ("seed.rows | map(attribute='text') | list", "rows", None),
        ("seed.rows | map('tojson') | map('upper')", "rows", None),
        ("seed.lazy | selectattr('text', 'eq', 'c') | list", "lazy", [0, 2]),
        ("seed.rows | selectattr('text', 'eq', 'c')", "rows", [0, 2]),
        ("seed.rows | rejectattr('n', 'ge', 2) | map(attribute='text') | list", "rows", None),
        ("seed.rows | sort(attribute='text') | map(attribute='n') | list", "rows", [1, 3, 0, 2]),
        ("seed.rows | map(attribute='text') | unique | list", "rows", [0, 1, 3]),
        ("seed.rows | map(attribute='of.in') | reject('eq', 'c') | list", "rows", [1, 3]),
        ("seed.rows[::-1]", "rows", [3, 2, 1, 0]),
        ("seed.lazy[2:]", "lazy", [2, 3]),
        ("seed.rows[:2] + seed.rows[3:]", "rows", [0, 1, 3]),
        ("[seed.rows[1], seed.rows[0]]", "rows", [1, 0]),
        ("seed.rows if seed.numbers else []", "rows", None),
        ("seed.numbers | select('gt', 2) | list", "numbers", [0, 2, 3]),
        ("seed.nested.texts | unique | list", "nested/texts", [0, 2]),
        ("seed.numbers | sort", "numbers", [1, 3, 0, 2]),
        ("tasks.same", "rows", None),
        ("tasks.earlier", "rows", [3, 1, 0]),
        ("tasks.earlier | selectattr('ok') | list", "rows", [3, 0]),
        ("tasks.same | selectattr('ok') | map(attribute='output') | list", "rows", [0, 2]),
        ("tasks.earlier | map(attribute='output') | selectattr('x') | list", "rows", [1, 0]),
    ],
)
def test_rows_of_the_seed_are_known_whatever_selects_them(expression: str, path: str, places: Any) -> None:
    known = origin(expression)
    assert known is not None and known.path == path
    assert (None if known.places is None else list(known.places)) == places


@pytest.mark.parametrize(
    "expression",
    [
        "range(4) | list",
        "[1, 2, 3]",
        "seed.rows | batch(2) | list",
        "seed.rows | groupby('text')",
        "seed.rows | map(attribute='tags') | sum(start=[])",
        "seed.rows + seed.numbers",
        "seed.rows[0].tags",
        "seed.rows | list + [1]",
        "seed.numbers | map('string') | select('eq', '5') | list",
        "[]",
        "tasks.other",
        "seed.items()",
    ],
)
def test_other_rows_are_rows_of_nobody(expression: str) -> None:
    assert origin(expression) is None


def test_a_list_as_a_whole_is_not_read_to_find_out() -> None:
    lazy = Lazy(ROWS)
    assert origin("seed.big", big=lazy) == RowOrigin("big")
    assert lazy.reads == 0
