"""Tracebacks show the user's lines, with their source, and our faults by name."""

from __future__ import annotations

import json

from po_jupyter.engine.base.tracebacks import SOURCE_FILENAME, as_po_error, register_source, user_traceback
from po_jupyter.errors import NotFound

CODE = "def stage():\n    return json.loads('{')\n"


def raised(source: str) -> BaseException:
    filename = SOURCE_FILENAME.format("t")
    register_source(filename, source)
    names = {"json": json}
    exec(compile(source, filename, "exec"), names)  # the author's code, as a worker runs it
    try:
        names["stage"]()  # type: ignore[operator]
    except Exception as error:
        return error
    raise AssertionError


def test_the_users_line_is_shown_and_the_librarys_last() -> None:
    text = user_traceback(raised(CODE))
    assert "<po_task t>" in text
    assert "json.loads('{')" in text
    assert "decoder.py" in text
    assert text.rstrip().endswith("char 1)")
    assert __file__ in text


def test_a_fault_of_ours_has_no_users_line_and_is_an_error_of_its_own() -> None:
    assert user_traceback(ValueError("never raised")) == ""
    error = as_po_error(ValueError("x"))
    assert (error.code, error.message) == ("internal", "internal error: ValueError: x")
    known = NotFound("gone")
    assert as_po_error(known) is known
