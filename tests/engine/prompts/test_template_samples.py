"""Samples of the expressions of a template: what the seed's first rows tell, and nothing that it does not."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2 import nodes

from po_jupyter.engine.prompts.template_samples import MAP_ROW, UNKNOWN, SampleScope, attribute_of
from po_jupyter.engine.prompts.templates import ENVIRONMENT
from po_jupyter.model.run.row_file_ref import RowFileRef

ROWS = [{"text": "a", "tags": ["x"]}, {"text": "b", "more": 1}]
SEED = {"rows": ROWS, "empty": [], "word": "text", "file": RowFileRef("0" * 64, 3, ("id", "text")).to_json()}


def expression(source: str) -> Any:
    (output,) = ENVIRONMENT.parse("{{ " + source + " }}").body
    assert isinstance(output, nodes.Output)
    return output.nodes[0]


def scope(**names: Any) -> SampleScope:
    return SampleScope({"seed": (SEED,), "tasks": ({"m": [MAP_ROW], "a": UNKNOWN},), **names})


@pytest.mark.parametrize(
    ("source", "samples"),
    [
        ("seed.rows", (ROWS,)),
        ('seed["rows"]', (ROWS,)),
        ("seed.rows | sort(attribute='text') | list", (ROWS,)),
        ("seed.rows[:1]", (ROWS,)),
        ("seed.rows[0]", tuple(ROWS)),
        ("seed.rows | first", tuple(ROWS)),
        ("seed.rows[0].text", ("a", "b")),
        ("seed.rows | map(attribute='text')", (["a", "b"],)),
        ("seed.rows[0].more", (1,)),
        ("seed.rows[0].nothing", ()),
        ("seed.rows | map(attribute='text.more')", ()),
        ("seed.rows | groupby('text')", ()),
        ("seed.rows[seed.word]", ()),
        ("tasks.a", ()),
        ("tasks.m[0].output", ()),
        ("nobody.knows", ()),
        ("1 + 1", ()),
    ],
)
def test_what_an_expression_may_be(source: str, samples: tuple[Any, ...]) -> None:
    """P11: a name is refused only where every row that can be known lacks it."""
    assert scope().samples(expression(source)) == samples


@pytest.mark.parametrize(
    ("source", "elements"),
    [
        ("seed.rows", tuple(ROWS)),
        ("seed.file", ({"id": UNKNOWN, "text": UNKNOWN},)),
        ("tasks.m", (MAP_ROW,)),
        ("seed.rows[0].tags", ("x",)),
        ("seed.empty", ()),
        ("seed.word", ()),
        ("tasks.a", ()),
    ],
)
def test_the_rows_of_a_list(source: str, elements: tuple[Any, ...]) -> None:
    """A file of rows tells its columns; a text is no list of letters."""
    assert scope().elements(expression(source)) == elements


def test_a_list_that_may_also_be_something_else_has_rows_that_nobody_knows() -> None:
    assert scope(x=([1], {"a": 2})).elements(expression("x")) == ()
    assert scope(x=([1], [2, 3])).elements(expression("x")) == (1, 2, 3)


def test_a_million_rows_are_not_looked_at() -> None:
    assert len(scope(x=(range(10**9), range(5))).elements(expression("x"))) == 1000


def test_a_loops_name_is_known_and_hides_the_one_outside() -> None:
    outer = scope(row=("outside",))
    target = nodes.Name("row", "store")
    assert outer.bound(target, (1, 2)).samples(expression("row")) == (1, 2)
    several = nodes.Tuple([nodes.Name("row", "store"), nodes.Name("other", "store")], "store")
    assert outer.bound(several, (1, 2)).samples(expression("row")) == ()
    assert outer.samples(expression("row")) == ("outside",)


@pytest.mark.parametrize(
    ("source", "attribute"),
    [
        ("x | map(attribute='a')", "a"),
        ("x | sort(attribute='a')", "a"),
        ("x | selectattr('a')", "a"),
        ("x | selectattr('a', 'equalto', 1)", "a"),
        ("x | rejectattr('a', 'defined')", None),
        ("x | map(attribute='a', default=0)", None),
        ("x | map('upper')", None),
        ("x | sort", None),
        ("x | map(attribute=name)", None),
        ("x | sort(attribute=0)", None),
    ],
)
def test_the_attribute_that_every_row_must_have(source: str, attribute: str | None) -> None:
    assert attribute_of(expression(source)) == attribute
