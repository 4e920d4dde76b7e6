"""Errors of cells: the line of the cell, what to do, and no traceback of ours."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from po_jupyter.errors import InvalidPipeline, NotFound, Violation
from po_jupyter.errors.tracebacks import VARIABLE
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


OURS = "po_jupyter/"
ASKED = """import po_jupyter as po
from po_jupyter.client.async_client import Endpoint
from po_jupyter.errors import Unavailable
nobody = po.Client(Endpoint("http://127.0.0.1:1"))
async def refuse(**options):
    raise Unavailable("no orchestrator answers", hint="`po start` starts one.")
nobody.aio.runs = refuse
def ask():
    return nobody.runs()
"""
WAITED = """import asyncio
from po_jupyter.client import background_loop
nobody.call(asyncio.sleep(5), timeout=0.01)
"""
STOPPED = """async def stop():
    raise KeyboardInterrupt
from unittest.mock import patch
with patch.object(background_loop, "run", lambda coro, timeout: coro.send(None)):
    nobody.call(stop())
"""


@pytest.fixture
def box(shell: InteractiveShell) -> Callable[[str], str]:
    """How a cell fails, as a reader sees it."""

    def fail(cell: str) -> str:
        with capture_output() as captured:
            assert shell.run_cell(cell, store_history=False).error_in_exec is not None
        return re.sub(r"\x1b\[[0-9;]*m", "", captured.stdout)

    return fail


def test_errors_of_the_python_api_show_the_users_frames_and_the_message(box: Callable[[str], str]) -> None:
    """A cell showed some ten frames of ours, of asyncio and of the HTTP client."""
    drawn = box(f"{ASKED}ask()")
    assert "in ask()" in drawn and "return nobody.runs()" in drawn
    assert drawn.splitlines()[-2] == "Unavailable: no orchestrator answers"
    assert OURS not in drawn and "asyncio" not in drawn
    drawn = box('po.map(["a"], "the same for all")')
    assert '----> 1 po.map(["a"], "the same for all")' in drawn and "InvalidInput: po.map: the prompt" in drawn
    assert OURS not in drawn


def test_so_do_timeouts_and_interrupts(box: Callable[[str], str]) -> None:
    drawn = box(WAITED)
    assert "TimeoutError: no answer within 0.01 s" in drawn and OURS not in drawn and "concurrent" not in drawn
    drawn = box(STOPPED)
    assert "KeyboardInterrupt" in drawn and "nobody.call(stop())" in drawn and OURS not in drawn


def test_what_the_users_own_code_caught_before_is_still_drawn(box: Callable[[str], str]) -> None:
    drawn = box('try:\n    {}["gone"]\nexcept KeyError:\n    po.map(["a"], "the same")')
    assert "KeyError: 'gone'" in drawn and "During handling of the above" in drawn and OURS not in drawn


def test_all_frames_are_there_for_a_report_of_a_bug(
    box: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    drawn = box(f"{ASKED}ask()")
    assert "po_jupyter/client/paging.py" in drawn and "During handling of the above" not in drawn
