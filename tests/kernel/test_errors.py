"""Errors of cells: the line of the cell, what to do, and no traceback of ours."""

from __future__ import annotations

import pytest

from po_jupyter.errors import InvalidPipeline, NotFound, Violation
from po_jupyter.kernel.errors import CellError, RunFailed, as_cell_errors, cell_error

TWO = InvalidPipeline(
    "wrong",
    violations=[Violation("tasks[0]", "no prompt", 3), Violation("llm.model", "no such model")],
    hint="Look.",
)


def test_a_violation_points_at_the_line_of_the_cell() -> None:
    """P11: `offset` is the magic's own line."""
    assert str(cell_error(TWO, offset=1)).splitlines() == [
        "cell line 4: no prompt", "llm.model: no such model", "Look.",
    ]  # fmt: skip
    lines = {"llm.model": 7}
    found = cell_error(TWO, lambda violation: lines.get(violation.where), offset=2)
    assert str(found).splitlines()[:2] == ["line 3: no prompt", "cell line 9: no such model"]


def test_an_error_without_violations_is_itself() -> None:
    error = NotFound("there is no run x", hint="`po runs` lists them.")
    assert str(cell_error(error)) == str(error)
    assert str(cell_error(InvalidPipeline("empty"))) == "empty"


def test_every_error_of_ours_fails_the_cell_without_its_insides_and_others_are_left() -> None:
    with pytest.raises(CellError, match="cell line 3") as caught, as_cell_errors():
        raise TWO
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    with pytest.raises(KeyError), as_cell_errors():
        raise KeyError("a fault of the user's own code keeps its traceback")
    with as_cell_errors():
        pass


def test_the_box_is_never_empty() -> None:
    assert CellError("one\ntwo")._render_traceback_() == ["one", "two"]
    assert CellError("")._render_traceback_() == ["CellError"]
    failed = RunFailed("", run="the run")
    assert failed._render_traceback_() == ["RunFailed"]
    assert failed.run == "the run"
