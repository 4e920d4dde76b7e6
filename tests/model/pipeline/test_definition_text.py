"""Definitions found as text: the right statement, the name it has there, and the names that it uses."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import linecache
import sys
import textwrap
import types
from collections.abc import Iterator
from typing import Any, NewType, TypeVar

import pytest
from pydantic import BaseModel, Field, field_validator

from po_jupyter.model.pipeline.definition_text import (
    Untransferable,
    definition_of,
    is_code,
    names_of,
    namespace_of,
)

LIMIT = 3
SINCE = dt.date(2000, 1, 1)
BOUND = Field(ge=0)
Number = NewType("Number", int)
Some = TypeVar("Some")
Texts = list[str]
double = functools.partial(pow, exp=2)
connection = object()


def is_short(text: str) -> bool:
    return len(text) <= LIMIT and is_old(text)


def is_old(text: str) -> bool:
    return text < str(SINCE)


class Kind(enum.Enum):
    BUG = "bug"


class Label(BaseModel):
    """A class with a validator, a reference in text and a default of its module."""

    kind: Kind
    others: list["Label"] = []  # noqa: UP037  # names in texts
    note: "Texts | None" = None  # noqa: UP037  # likewise
    size: int = BOUND

    @field_validator("note")
    @classmethod
    def _is_short(cls, note: Any) -> Any:
        local = note
        assert local is None or is_short(local[0])
        return note


def definition(name: str) -> Any:
    return definition_of(name, globals()[name], globals())


@pytest.mark.parametrize(
    ("name", "first_line", "uses"),
    [
        ("is_short", "def is_short(text: str) -> bool:", ["LIMIT", "is_old"]),
        ("Kind", "class Kind(enum.Enum):", ["enum"]),
        ("SINCE", "SINCE = dt.date(2000, 1, 1)", ["dt"]),
        ("BOUND", "BOUND = Field(ge=0)", ["Field"]),
        ("Number", 'Number = NewType("Number", int)', ["NewType"]),
        ("Some", 'Some = TypeVar("Some")', ["TypeVar"]),
        ("Texts", "Texts = list[str]", []),
        ("double", "double = functools.partial(pow, exp=2)", ["functools"]),
    ],
)
def test_the_statement_of_a_value_is_found_with_the_names_it_takes_from_around(
    name: str, first_line: str, uses: list[str]
) -> None:
    found = definition(name)
    assert found.text.splitlines()[0] == first_line
    assert found.name == name
    assert set(uses) <= set(found.uses)
    assert name not in found.uses


def test_annotations_in_texts_are_names_too_and_locals_are_none() -> None:
    found = definition("Label")
    assert {"BaseModel", "Kind", "Texts", "BOUND", "field_validator", "is_short"} <= set(found.uses)
    assert not {"Label", "local", "note", "cls", "kind", "others"} & set(found.uses)
    assert found.uses.index("BaseModel") < found.uses.index("is_short"), "in the order of the text"


def test_what_only_this_process_has_is_refused() -> None:
    """An object that was opened, not declared: its statement would open another one."""
    with pytest.raises(Untransferable, match="`connection`, a object that only this process has"):
        definition("connection")


def test_a_decorator_belongs_to_its_definition() -> None:
    def keep(value: Any) -> Any:
        return value

    @keep
    @keep
    class Inner:
        x = LIMIT

    found = definition_of("Inner", Inner, {"keep": keep})
    assert found.text.splitlines()[:3] == ["@keep", "@keep", "class Inner:"], "and it is no longer indented"
    assert found.uses == ["keep", "LIMIT"]


def test_names_of_an_enclosing_function_are_found_and_win() -> None:
    LIMIT = 7  # hides the one of the module
    later: Any

    def bounded(text: str) -> bool:
        return len(text) <= LIMIT and bool(later)

    names = names_of(bounded, {"given": 1})
    assert (names["LIMIT"], names["SINCE"], "later" in names) == (7, SINCE, False)
    later = True
    assert names_of(bounded, {})["later"] is True
    assert names_of(3, {"given": 1}) == {"given": 1}


def test_code_is_a_class_or_a_function() -> None:
    assert (is_code(Kind), is_code(is_short), is_code(SINCE), is_code(len)) == (True, True, False, False)
    assert namespace_of(Kind) is vars(sys.modules[__name__])
    assert namespace_of(SINCE) == {}


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Runs a cell: its text is known to `linecache` only, as IPython does it."""
    cells: list[str] = []
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)

    def run(text: str) -> dict[str, Any]:
        name = f"<cell {len(cells)} of the test>"
        cells.append(name)
        text = textwrap.dedent(text)
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        exec(compile(text, name, "exec"), vars(module))
        return vars(module)

    yield run
    for name in cells:
        linecache.cache.pop(name, None)


def test_of_a_cell_that_was_run_again_the_newest_text_counts(notebook: Any) -> None:
    """A person changed the class and ran its cell: the old text is still in memory."""
    notebook("class Answer:\n    old = 1\n")
    space = notebook("class Answer:\n    new = 2\n")
    assert "new = 2" in definition_of("Answer", space["Answer"], space).text
    space = notebook("WORDS = list[str]\n")
    space = notebook("WORDS = list[bytes]\n")
    assert definition_of("WORDS", space["WORDS"], space).text == "WORDS = list[bytes]"


def test_of_two_functions_of_one_name_the_one_that_was_run_is_found(notebook: Any) -> None:
    space = notebook("""
        def check(x):
            return x > 1
        first = check
        def check(x):
            return x > 2
    """)
    assert "x > 1" in definition_of("check", space["first"], space).text
    assert "x > 2" in definition_of("check", space["check"], space).text


def test_a_text_that_is_no_python_is_passed_over_and_no_text_is_told(notebook: Any) -> None:
    """A cell of another magic; and a class that was made without any text."""
    space = notebook("class Answer:\n    x = 1\n")
    linecache.cache["<cell with a magic>"] = (1, None, ["%%po_pipeline a\n"], "<cell with a magic>")
    try:
        assert "x = 1" in definition_of("Answer", space["Answer"], space).text
    finally:
        del linecache.cache["<cell with a magic>"]
    made = type("Made", (), {"__module__": "__main__"})
    with pytest.raises(Untransferable, match="the source of Made is not known here"):
        definition_of("Made", made, space)
